"""konsil-simulate: a study on simulated hospitals, or on folders of real DICOM, before any hospital is asked."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from server.report.result import Purpose, Result
from server.text import number, printable, span
from shared.console import run as run_app
from shared.errors import InputError, OperatorError
from shared.study import parse_study, read_study
from simulations.archives import archives_of
from simulations.audit_cli import audit
from simulations.ct.hospital import write_ct_hospital
from simulations.demo import write_archives
from simulations.faults_cli import faults
from simulations.federation import Wish, simulate, simulate_processes
from simulations.hospital import PROFILES, write_hospital
from simulations.plan_cli import plan
from simulations.repeat_cli import cross_validation, searching
from simulations.synthesize_cli import synthesize

app = typer.Typer(
    name="konsil-simulate", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

Out = Annotated[Path, typer.Option(help="Folder for everything the run leaves.")]
Resume = Annotated[bool, typer.Option(help="Go on from the last checkpoint in OUT.")]


@app.command()
def demo(out: Out = Path("demo-out"), resume: Resume = False) -> None:
    """Four synthetic hospitals, private and masked, with baselines and a report at the end."""
    console = Console()
    archives = write_archives(out / "archives", console)
    text = resources.files("simulations").joinpath("demo.toml").read_text("utf-8")
    study = parse_study(text, "demo.toml")
    _finish(simulate(Wish(study, text, archives, out, resume=resume, baselines=True), console), out, console)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    site: Annotated[list[str], typer.Option(help="NAME=ARCHIVE, once per hospital; labels in ARCHIVE/labels.csv.")],
    *,
    out: Out = Path("run-out"),
    resume: Resume = False,
    baselines: Annotated[bool, typer.Option(help="Also train each hospital alone, and all pooled.")] = False,
    survey: Annotated[bool, typer.Option("--survey", help="Only survey the archives; train nothing.")] = False,
    processes: Annotated[
        bool, typer.Option("--processes", help="A real coordinator and real daemons, over TLS on this machine.")
    ] = False,
) -> None:
    """Run STUDY over the given DICOM archives."""
    console = Console()
    read = read_study(study)
    source, purpose = study.read_text("utf-8"), _purpose(survey)
    wish = Wish(
        read, source, archives_of(site), out, resume=resume, baselines=baselines, purpose=purpose, beside=study.parent
    )
    _finish(simulate_processes(wish, console) if processes else simulate(wish, console), out, console)


@app.command()
def hospital(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist or be empty.")],
    *,
    patients: Annotated[int, typer.Option(min=1, help="How many patients.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    profile: Annotated[str, typer.Option(help=f"Scanner and population: {', '.join(PROFILES)}.")] = next(
        iter(PROFILES)
    ),
    modality: Annotated[
        Literal["XR", "CT"], typer.Option(help="Radiographs of chests, or CT of chest and abdomen.")
    ] = "XR",
) -> None:
    """Write a synthetic DICOM archive and labels.csv: radiographs, some with nodules, or CT, some with effusions."""
    if profile not in PROFILES:
        raise InputError("--profile", expected=f"one of {', '.join(PROFILES)}", got=profile, do="Name one of them.")
    write = write_ct_hospital if modality == "CT" else write_hospital
    write(out, patients=patients, seed=seed, profile=PROFILES[profile])
    Console().print(f"wrote {out}")


for command in (plan, audit, faults, synthesize):
    app.command()(command)
app.command("search")(searching)
app.command("cross-validate")(cross_validation)


def _purpose(survey: bool) -> Purpose:
    return "survey" if survey else "model"


def _headline(result: Result) -> str:
    """The figure that speaks for the run, and whom it is of."""
    if (found := result.judged) is None:
        return ""
    head, noise = found.headline, result.metrics.noise if result.metrics else None
    judged = f"about {found.images} held-out patients, with noise" if noise else f"{found.images} held-out images"
    name, unit = f"{head.shown[:1].lower()}{head.shown[1:]}", f" {head.unit}" if head.unit else ""
    return f"{name} {number(head.value)}{unit} ({span(head.low, head.high)}) on {judged}"


def _finish(result: Result, out: Path, console: Console) -> None:
    """One line of what came out and where it is; a run that did not finish fails the command."""
    if result.judged is not None:
        console.print(printable(_headline(result)), markup=False, highlight=False)
    if result.survey is not None and result.purpose == "survey":
        held = ", ".join(f"{count} {label}" for label, count in result.survey.labels.items())
        if hidden := result.survey.hidden_labels:
            held += f" ({hidden} counts hidden: of too few patients)"
        console.print(printable(f"training images: {held}"), markup=False, highlight=False)
    console.print(f"report: {out / 'report.html'}   figures: {out / 'result.json'}")
    if result.status != "finished":
        raise OperatorError(f"run {result.run} {result.status}: {result.because}", do="The report has the details.")


def main() -> NoReturn:
    """The console script."""
    run_app(app)
