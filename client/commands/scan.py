"""konsil-client scan: what an archive holds, what of it can be used, and why the rest cannot."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.dicom.labels.join import join
from client.dicom.labels.labels import Labels
from client.dicom.labels.masks import read_masks
from client.dicom.labels.source import read_source
from client.dicom.labels.table import Layout
from client.dicom.quality.html import write_html
from client.dicom.quality.report import assess
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import place_of
from client.dicom.scanning.scan import ScanReport, verdicts
from client.dicom.scanning.scan import scan as scan_archive
from client.dicom.series import describe_all, scans
from client.home import Home, make_keys
from shared.console import bars
from shared.text import printable


def scan(
    archive: Annotated[Path, typer.Argument(help="Folder, zip or DICOMDIR; read only.")],
    *,
    labels: Annotated[Path | None, typer.Option(help="CSV with an id column and labels, or a folder of SR.")] = None,
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per series on stdout, nothing else.")] = False,
    files: Annotated[
        bool, typer.Option("--files", help="One JSON line per file that is left out, with its path, nothing else.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write the quality report to this page.")] = None,
    finding: Annotated[
        list[str] | None, typer.Option(help="A column of the table that says 1 or 0 of this finding; repeatable.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of SEG and RTSTRUCT; says which series they fit.")] = None,
) -> None:
    """Index an archive and say for every file whether it is usable, and if not, why."""
    folder = home.expanduser()
    make_keys(folder)
    key = Home(folder).archive_key
    console = Console(stderr=True)
    known = None if labels is None else read_source(labels, key, Layout(findings=tuple(finding or ())))
    with bars(console) as bar, Catalog.of(archive, folder / "archive") as catalog:
        reading = bar.add_task("reading headers", total=None)
        report = scan_archive(archive, catalog, key=key, labels=known, progress=_onto(bar, reading))
        bar.update(reading, completed=report.files, total=report.files)
        if html is not None:
            looking = _onto(bar, bar.add_task("looking at images", total=None))
            write_html(assess(archive, catalog, key=key, labels=known, progress=looking), html)
        if files:
            _print_files(catalog, key, known)
        elif json:
            for line in describe_all(catalog, key, known):
                sys.stdout.write(msgspec.json.encode(line).decode() + os.linesep)
        told = [f"labels: {one}" for one in _joined(known, catalog)] + _drawn(masks, key, catalog)
        if not (json or files):
            told.insert(0, scans(describe_all(catalog, key, None)).sentence())
    if not (json or files):
        _print(report, told, Console())


def _print_files(catalog: Catalog, key: bytes, known: Labels | None) -> None:
    """Paths are for the person at the keyboard: nothing else that Konsil writes has them in clear."""
    for entry, verdict in verdicts(catalog, key=key, labels=known):
        if isinstance(verdict, Reason):
            place = place_of(key, entry)
            line = {"path": place.path, "member": place.member, "reason": verdict.value, "advice": verdict.advice}
            sys.stdout.write(msgspec.json.encode(line).decode() + os.linesep)


def _joined(known: Labels | None, catalog: Catalog) -> tuple[str, ...]:
    """What did not join between the labels and whole images."""
    return () if known is None else join(known, (one for one in catalog.entries() if not one.fault)).sentences()


def _drawn(place: Path | None, key: bytes, catalog: Catalog) -> list[str]:
    """How the masks in `place` and the series of the archive go together."""
    if place is None:
        return []
    report = read_masks(place, key).report({one.series for one in catalog.entries() if not one.fault})
    names = ", ".join(f"{label} {count}" for label, count in report.labels.items())
    whole = f"masks: {report.joined} of {report.files} files fit a series of the archive ({names or 'no label'})"
    return [whole, *(f"masks: {one}" for one in report.sentences())]


def _onto(bar: Progress, task: TaskID) -> Callable[[int, int], None]:
    return lambda done, of: bar.update(task, completed=done, total=of)


def _print(report: ScanReport, told: Sequence[str], console: Console) -> None:
    table = Table("files", "what became of them", title="Scan")
    table.add_row(str(report.usable), f"usable, of {report.patients} patients")
    for reason, count in report.skipped.items():
        table.add_row(str(count), Text(f"left out: {reason.explain}\n").append(reason.advice, "dim"))
    console.print(table)
    for title, counts in _counted(report):
        shown = ", ".join(f"{name or 'none given'} {count}" for name, count in counts.items())
        console.print(_words(f"usable by {title}: {shown or 'none'}"))
    if report.orphans:
        console.print(f"{report.orphans} images name no patient: each study of theirs counts as one")
    if report.several_issuers:
        why = "patient numbers stand under several issuers, or with one and without: they count as different patients"
        console.print(f"{report.several_issuers} {why}")
    for sentence in filter(None, told):
        console.print(_words(sentence))
    console.print(f"{report.read} files read, {report.unchanged} unchanged, {report.removed} gone since the last scan")


def _counted(report: ScanReport) -> tuple[tuple[str, Mapping[str, int]], ...]:
    return (
        ("modality", report.by_modality),
        ("manufacturer", report.by_manufacturer),
        ("year", report.by_year),
        ("view", report.by_view),
        ("label", report.by_label),
    )


def _words(text: str) -> Text:
    """What others named (labels, makers of scanners): text, no markup, and steers no terminal."""
    return Text(printable(text))
