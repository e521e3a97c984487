"""The rows of a CSV table whose columns name images by any identifier (levels.py), read one by one.

Guarantees: commas, semicolons or tabs, quoted or not, UTF-8 or UTF-16 with or without byte order mark, Excel's `sep=`
line; a row with more cells than columns stops the reading (an unquoted delimiter would shift its values), and errors
tell rows and columns, never a value. Rows are numbered as a spreadsheet does, the header is row 1.
"""

import codecs
import contextlib
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.dicom.labels.levels import LEVELS
from shared.errors import InputError

DELIMITERS = ",;\t"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Row:
    """Row `number`, its most specific identifier and that one's level (both "" if it gives none), and all cells."""

    number: int
    level: str
    identifier: str = field(repr=False)
    cells: list[str] = field(repr=False)


@dataclass(frozen=True)
class Table:
    """An open table. `columns`: name in small letters → place in a row's cells. `rows` can be gone through once."""

    path: Path
    columns: Mapping[str, int]
    rows: Iterator[Row]

    def place(self, column: str) -> int | None:
        """Where the cells of `column` are; None if there is no such column."""
        return self.columns.get(column.strip().lower())


@contextlib.contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """The table at `path`. Raises InputError, also while its rows are gone through, saying what it lacks."""
    try:
        with path.open("rb") as raw:
            encoding = "utf-16" if raw.read(2) in _UTF_16 else "utf-8-sig"
        with path.open(encoding=encoding, newline="") as file:
            head = file.readline()
            chosen = re.fullmatch(r"sep=(.)\s*", head)
            if not chosen:
                file.seek(0)
            delimiter = chosen[1] if chosen else _delimiter(head)
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip().lower() for name in next(lines, [])]
            places = _identifiers(header, path)
            columns = _columns(header, path)
            yield Table(path, columns, _rows(lines, len(header), places, path))
    except (OSError, UnicodeError, csv.Error) as error:
        got = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"label file {path}", expected="a readable CSV file in UTF-8", got=got) from None


def _delimiter(head: str) -> str:
    bare = _QUOTED.sub("", head)
    return max(DELIMITERS, key=bare.count)


def _identifiers(header: list[str], path: Path) -> dict[str, int]:
    """Level → place of its column in this file, most specific level first."""
    squeezed = [re.sub(r"[^a-z0-9]", "", name) for name in header]
    found: dict[str, int] = {}
    for level, aliases in LEVELS.items():
        known = (level.replace("_", ""), *aliases)
        if alias := next((name for name in known if name in squeezed), None):
            found[level] = squeezed.index(alias)
    if not found:
        # never the names: of a file without a header they are a patient's values
        got = f"{len(header)} columns of other names" if any(header) else "no header line"
        raise InputError(
            f"label file {path}", expected=f"a column {' or '.join(LEVELS)}", got=got, do="Add one of these columns."
        )
    return found


def _columns(header: list[str], path: Path) -> dict[str, int]:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(
            f"label file {path}", expected="columns of different names", got=f"'{twice[0]}' twice", do="Rename one."
        )
    return {name: place for place, name in enumerate(header) if name}


def _rows(lines: Iterator[list[str]], width: int, places: Mapping[str, int], path: Path) -> Iterator[Row]:
    for number, cells in enumerate(lines, start=2):
        if any(cell.strip() for cell in cells[width:]):
            raise InputError(
                f"label file {path}: row {number}",
                expected=f"at most {width} cells, as the header has columns",
                got=f"{len(cells)}",
                do="Put the cell that holds the delimiter into quotes.",
            )
        full = [cell.strip() for cell in cells] + [""] * (width - len(cells))
        level = next((level for level, place in places.items() if full[place]), "")
        yield Row(number, level, full[places[level]] if level else "", full)
