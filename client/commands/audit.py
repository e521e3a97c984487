"""konsil-client audit: what left the house, and whether the log of it is whole."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from client.audit import Audit
from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.home import Home
from client.receipts import Comparison, compare
from shared.errors import InputError, SiteError
from shared.receipts import Receipt
from shared.text import printable
from shared.wire import read_json

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")]
#: Bytes of the longest line of a coordinator's log.
LONGEST_RECEIPT = 1 << 16


def verify(
    home: HomeOption = DEFAULT_HOME,
    head: Annotated[str | None, typer.Option(help="A head noted earlier; finds a cut-off tail.")] = None,
    receipts: Annotated[Path | None, typer.Option(help="The coordinator's receipts.jsonl, to compare.")] = None,
    json: JsonOption = False,
) -> None:
    """Check that no line of the audit log was changed, removed or inserted; compare it with the coordinator's log."""
    folder = Home(home.expanduser())
    audit = Audit(folder.path / "audit.jsonl")
    found = audit.head(noted=head)
    compared = None
    if receipts is not None:
        compared = compare(folder.config.name, audit.entries(), read_receipts(receipts))
    if json:
        _write_json({"lines": found.lines, "head": found.digest, "receipts": compared})
    else:
        console = Console(soft_wrap=True)
        console.print(f"{found.lines} lines, unbroken", highlight=False)
        console.print(f"head to note down: {found.digest}", highlight=False)
        _show(compared, console)
    if compared is not None and compared.alarms:
        raise SiteError(
            "the coordinator's log",
            expected="nothing in this hospital's name that it did not send",
            got=f"{len(compared.alarms)} such replies",
            do="Somebody speaks in this hospital's name, or one of the two logs was changed: call the consortium.",
        )


def head(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Print the head of the audit log: noted elsewhere, it proves later that no line was changed or cut off."""
    found = Audit(home.expanduser() / "audit.jsonl").head()
    if json:
        _write_json({"lines": found.lines, "head": found.digest})
    else:
        sys.stdout.write(f"{found.digest}{os.linesep}")


def read_receipts(path: Path) -> Iterator[Receipt]:
    """The lines of a coordinator's log. Raises InputError naming the line that is none."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_RECEIPT), b""), start=1):
                yield _receipt(line, f"{path.name} line {number}")
    except OSError as error:
        raise InputError(
            str(path), expected="a coordinator's receipts.jsonl", got=error.strerror or "an I/O error", do="Check it."
        ) from None


def _receipt(line: bytes, place: str) -> Receipt:
    try:
        return read_json(line, Receipt)
    except msgspec.DecodeError as error:
        raise InputError(place, expected="a receipt", got=str(error), do="Ask for the file anew.") from None


def _show(compared: Comparison | None, console: Console) -> None:
    if compared is None:
        return
    console.print(f"{compared.matched} replies are in both logs", highlight=False)
    for line in (
        *(f"lost on the way: {lost}" for lost in compared.lost),
        *(f"ALARM: {one}" for one in compared.alarms),
    ):
        console.print(Text(printable(line)))  # the coordinator's words


def _write_json(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + os.linesep)
