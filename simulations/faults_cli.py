"""konsil-simulate faults: break a real federation at every step, and write the table of docs/reliability.md."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shared.errors import InputError
from shared.files import write_atomically
from simulations import hardships
from simulations.fault_suite import SAME, VICTIM, Disturbed, Line, budget, distance, disturbed, kills, rows, study_text
from simulations.hospital import PROFILES, write_hospital
from simulations.moments import STEPS
from simulations.process_table import Role
from simulations.processes import Processes, found, up

NAMES = ("alder", VICTIM, "cedar")
ROLES: tuple[Role, ...] = ("superlink", "serverapp", "supernode", "agent")
HARDSHIPS: dict[str, hardships.Hardship] = {
    "slow": hardships.slow_site,
    "late": hardships.late_site,
    "leaves": hardships.leaving_site,
    "cut": hardships.cut_line(8.0),
    "long-cut": hardships.cut_line(40.0),
    "thin": hardships.thin_line,
    "disk-site": hardships.full_disk_site,
    "disk-coordinator": hardships.full_disk_coordinator,
}


def faults(
    out: Annotated[Path, typer.Option(help="Folder for the federation and the table.")] = Path("faults-out"),
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join((*ROLES, *HARDSHIPS))}; all if none.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With differential privacy: also checks the ledgers.")
    ] = False,
) -> None:
    """Kill, cut, slow down and fill up a real federation at every step; say what came of it. Needs root. 40 minutes."""
    console = Console()
    wanted = tuple(only or (*ROLES, *HARDSHIPS))
    if unknown := set(wanted) - {*ROLES, *HARDSHIPS}:
        raise InputError("--only", expected=f"of {', '.join((*ROLES, *HARDSHIPS))}", got=", ".join(unknown))
    lines: list[Line] = []
    with _theatre(out, console) as federation:
        for line in _lines(federation, wanted, console, private=private):
            lines.append(line)
            write_atomically(out / "table.md", _markdown(lines).encode())
    console.print(_markdown(lines), highlight=False, markup=False)


@contextmanager
def _theatre(out: Path, console: Console) -> Iterator[Processes]:
    """Three hospitals; the victim behind a line and on disks of its own."""
    archives = {name: out / "archives" / name for name in NAMES}
    for seed, (name, archive) in enumerate(archives.items()):
        if not archive.exists():
            write_hospital(archive, patients=24, seed=seed, profile=PROFILES[name])
    with ExitStack() as stack:
        before = stack.enter_context(hardships.own_line())
        resolved = {name: archive.resolve() for name, archive in archives.items()}
        federation = found(out, resolved, host=hardships.NEAR, tell=lambda what: console.print(what, highlight=False))
        federation.before = {VICTIM: before}
        federation.coordinator.runs.mkdir(exist_ok=True)
        stack.enter_context(hardships.small_disk(federation.site(VICTIM), 48))
        stack.enter_context(hardships.small_disk(federation.coordinator.runs, 48))
        yield stack.enter_context(up(federation))


def _lines(federation: Processes, wanted: tuple[str, ...], console: Console, *, private: bool) -> Iterator[Line]:
    text = study_text(len(STEPS), private=private)
    calm = disturbed(federation, text, (), console)
    again = disturbed(federation, text, (), console)
    console.print(f"two undisturbed runs: {distance(again, calm):.4f} apart; {budget(calm)}", highlight=False)
    for role in ROLES:
        if role in wanted:
            strikes = kills(role)
            run = disturbed(federation, text, strikes, console)
            yield from rows(run, strikes, calm)
            yield _verdict(run, calm, private=private)
            federation.wait_ready()
    for name, hardship in HARDSHIPS.items():
        if name in wanted:
            yield from hardship(federation, calm, console)
            federation.wait_ready()


def _verdict(run: Disturbed, calm: Disturbed, *, private: bool) -> Line:
    """The whole run: its end, and its model or its budget."""
    outcome = f"run {run.line.state} after {run.line.starts} starts of the coordinator's process"
    if private:
        return Line("  whole run", "", f"{outcome}; ε: {budget(run)}", float("nan"))
    apart = distance(run, calm)
    same = "the undisturbed run's" if apart < SAME else "ANOTHER"
    return Line("  whole run", "", f"{outcome}; model {same} ({apart:.4f} apart)", float("nan"))


def _markdown(lines: list[Line]) -> str:
    head = "| fault | step | outcome | seconds lost |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {line.fault} | {line.step} | {line.outcome} | {line.seconds:.0f} |\n".replace("| nan |", "| |")
        for line in lines
    )
