"""konsil-client deidentify: a copy of images that may leave the hospital, without identities (PS3.15 Annex E)."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.dicom.deident.export import Export, Terms, export
from client.dicom.deident.profile import CLEAN, RETAIN, Option, Profile
from client.dicom.reasons import Reason
from client.home import Home, make_keys
from shared.console import bars
from shared.errors import InputError


def deidentify(
    archive: Annotated[Path, typer.Argument(help="Folder or .zip of DICOM files, read only.")],
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty.")],
    retain: Annotated[
        list[str] | None, typer.Option(help=f"Keep what is removed otherwise: {', '.join(RETAIN)}. Repeatable.")
    ] = None,
    clean: Annotated[
        list[str] | None, typer.Option(help=f"Clean instead of remove: {', '.join(CLEAN)}. Repeatable.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    allow_burned_in: Annotated[
        bool, typer.Option("--allow-burned-in", help="Write what may show text in its pixels, without the claim.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The counts as one JSON line on stdout, nothing else.")] = False,
) -> None:
    """Write de-identified copies of an archive's objects; hold back those with text in their pixels."""
    profile = Profile(frozenset((*_options("--retain", retain, RETAIN), *_options("--clean", clean, CLEAN))))
    folder = home.expanduser()
    make_keys(folder)
    with bars(Console(stderr=True)) as bar:
        task = bar.add_task("de-identifying", total=None)
        result = export(
            archive,
            out,
            Terms(profile, allow_burned_in),
            key=Home(folder).archive_key,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if json:
        sys.stdout.write(msgspec.json.encode(result).decode() + os.linesep)
    else:
        Console().print(_shown(result))


def _options(flag: str, names: Sequence[str] | None, allowed: Sequence[Option]) -> Iterator[Option]:
    for name in names or ():
        if name not in allowed:
            raise InputError(flag, expected=", ".join(allowed), got=repr(name), do="Choose one of these.")
        yield Option(name)


def _shown(result: Export) -> Table:
    table = Table("files", "what became of them", title="De-identification")
    table.add_row(str(result.written), "written")
    if result.unclaimed:
        table.add_row(str(result.unclaimed), "of these with pixels that may name the patient: look at each of them")
    for reason, number in result.quarantined.items():
        table.add_row(str(number), _why("quarantined, not written", reason))
    for reason, number in result.left_out.items():
        table.add_row(str(number), _why("left out", reason))
    table.add_row("", f"{result.swept} texts removed because a name or number of the patient stood in them")
    return table


def _why(what: str, reason: Reason) -> Text:
    """What became of files, why, and below it what can be done about it."""
    return Text(f"{what}: {reason.explain}\n").append(reason.advice, "dim")
