"""konsil-client: the hospital. What it reads, what it may spend, what left the house."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.commands.approve import approve
from client.commands.audit import head, verify
from client.commands.daemon import agent, node, status, up
from client.commands.doctor import doctor
from client.commands.join import fingerprint, join
from client.commands.rotate import rotate
from client.dicom.dicomize import dicomize as write_archive
from client.dicom.labels.table import read_labels
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.scan import ScanReport
from client.dicom.scanning.scan import scan as scan_archive
from client.home import Home, make_keys
from client.ledger import Ledger
from shared.console import bars
from shared.console import run as run_app
from shared.text import printable

app = typer.Typer(
    name="konsil-client", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
audit_app = typer.Typer(no_args_is_help=True, help="What left the house.")
app.add_typer(audit_app, name="audit")
for command in (join, fingerprint, rotate, up, agent, node, status, approve, doctor):
    app.command()(command)
for command in (verify, head):
    audit_app.command()(command)

HomeOption = Annotated[Path, typer.Option("--home", envvar="KONSIL_HOME", help="This hospital's Konsil folder.")]
DEFAULT_HOME = Path("~/.konsil")


@app.command()
def dicomize(
    images: Annotated[Path, typer.Argument(help="Folder, .zip or .npz of PNG or JPEG images.")],
    out: Annotated[Path, typer.Option(help="Archive folder to write.")],
    labels: Annotated[
        str | None, typer.Option(help="CSV with image, patient_id, label; or its name in the zip.")
    ] = None,
) -> None:
    """Turn images with a table of labels into a DICOM archive with labels.csv."""
    console = Console(stderr=True)
    with bars(console) as bar:
        task = bar.add_task("writing DICOM", total=None)
        count = write_archive(images, labels, out, progress=lambda done, of: bar.update(task, completed=done, total=of))
    console.print(f"wrote {count} images to {out}")


@app.command()
def scan(
    archive: Annotated[Path, typer.Argument(help="Folder of DICOM files, read only.")],
    labels: Annotated[Path | None, typer.Option(help="CSV with an id column and a label column.")] = None,
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per series on stdout, nothing else.")] = False,
) -> None:
    """Index an archive and say for every file whether it is usable, and if not, why."""
    folder = home.expanduser()
    make_keys(folder)
    key = Home(folder).archive_key
    console = Console(stderr=True)
    with bars(console) as bar, Catalog.of(archive, folder / "archive") as catalog:
        task = bar.add_task("reading headers", total=None)
        found = read_labels(labels, key) if labels is not None else None
        report = scan_archive(
            archive,
            catalog,
            key=key,
            labels=found,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
        series = list(catalog.series()) if json else []
    for line in series:
        sys.stdout.write(msgspec.json.encode(line).decode() + os.linesep)
    if not json:
        _print_scan(report, Console())


def _print_scan(report: ScanReport, console: Console) -> None:
    table = Table("files", "what became of them", title="Scan")
    table.add_row(str(report.usable), f"usable, of {report.patients} patients")
    for reason, count in report.skipped.items():
        table.add_row(str(count), _words(f"left out: {reason.explain}"))
    console.print(table)
    for title, counts in (
        ("modality", report.by_modality),
        ("manufacturer", report.by_manufacturer),
        ("label", report.by_label),
    ):
        shown = ", ".join(f"{name or 'none given'} {count}" for name, count in counts.items())
        console.print(_words(f"usable by {title}: {shown or 'none'}"))
    if report.orphans:
        console.print(f"{report.orphans} images name no patient: each study of theirs counts as one")
    if report.labels_unmatched:
        console.print(f"{report.labels_unmatched} identifiers of the label file match no usable image")
    console.print(f"{report.read} files read, {report.unchanged} unchanged, {report.removed} gone since the last scan")


@app.command()
def ledger(
    home: HomeOption = DEFAULT_HOME,
    delta: Annotated[float, typer.Option(help="The δ at which ε is shown.")] = 1e-5,
) -> None:
    """What the patients of this hospital have spent: per study and run, and in total."""
    path = home.expanduser() / "ledger.sqlite"
    console = Console()
    book = Ledger(path)
    table = Table("study", "run", "rounds", "patients", f"ε at δ = {delta:g}", "first", "last", title="Privacy ledger")
    for line in book.lines(delta):
        cells = (line.study, line.run, line.rounds, line.patients, f"{line.epsilon:.3f}", line.first, line.last)
        table.add_row(*(_words(str(cell)) for cell in cells))
    console.print(table)
    console.print(f"most spent by any one patient, over everything: ε = {book.epsilon(delta):.3f} at δ = {delta:g}")


def _words(text: str) -> Text:
    """What others named (studies, runs, labels, makers of scanners): text, no markup, and steers no terminal."""
    return Text(printable(text))


def main() -> NoReturn:
    """The console script."""
    run_app(app)
