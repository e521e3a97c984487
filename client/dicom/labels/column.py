"""One column of a table, of any meaning: what its cells say of each image.

Guarantees: as for labels (table.py): the most specific row that matches an image decides, rows that say different
things of one identifier are a conflict unless they add up, identifiers are hashed as they are read, an empty cell says
nothing.

    >>> read_column(Path("labels.csv"), key, "diameter_mm", float)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from client.dicom.labels.levels import LEVELS, find, identifier_key
from client.dicom.labels.rows import open_table
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from shared.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """`levels`: level → keyed hash → what is said, None where rows contradict each other; `rows`: with a cell."""

    source: Path
    name: str
    levels: Mapping[str, Mapping[bytes, T | None]] = field(repr=False)
    rows: int

    def match(self, entry: Entry) -> tuple[str, bytes] | None:
        """The level and hash of what speaks for `entry`, most specific first; None if nothing does."""
        return find(self.levels, entry)

    def of(self, entry: Entry) -> T | Reason:
        """What is said of `entry`; no_label or label_conflict if nothing can be."""
        matched = self.match(entry)
        if matched is None:
            return Reason.NO_LABEL
        said = self.levels[matched[0]][matched[1]]
        return Reason.LABEL_CONFLICT if said is None else said

    def of_all(self, entries: Iterable[Entry]) -> T | Reason:
        """What is said of a volume or stack: all slices of which anything is said must agree."""
        found = [said for entry in entries if (said := self.of(entry)) is not Reason.NO_LABEL]
        if not found:
            return Reason.NO_LABEL
        return found[0] if all(said == found[0] for said in found) else Reason.LABEL_CONFLICT

    def require_match(self, matched: int) -> None:
        """Raises InputError if the column matched no image at all."""
        what = f"label file {self.source}, column '{self.name}'"
        if not self.rows:
            raise InputError(what, expected="cells with something in them", got="none", do="Fill it in.")
        if not matched:
            raise InputError(
                what,
                expected=f"rows that match images of the archive by {', '.join(self.levels) or 'an identifier'}",
                got=f"{self.rows} rows with a value, of which none matches",
                do="Check that this file belongs to this archive and that its identifiers are those inside the DICOM "
                f"files (known columns: {', '.join(LEVELS)}).",
            )


def read_column(
    path: Path, key: bytes, name: str, parse: Callable[[str], T], join: Callable[[T, T], T | None] | None = None
) -> Column[T]:
    """Column `name` of the table at `path`, each cell as `parse` reads it; several cells of one identifier are one
    thing by `join`, None where they contradict each other. Raises InputError saying what the table lacks."""
    levels: dict[str, dict[bytes, T | None]] = {}
    count = 0
    with open_table(path) as table:
        place = table.place(name)
        if place is None:
            got = ", ".join(table.columns)
            raise InputError(f"label file {path}", expected=f"a column '{name}'", got=got, do="Add or name it.")
        for row in table.rows:
            if row.level and (cell := row.cells[place]):
                count += 1
                known, value, said = (
                    levels.setdefault(row.level, {}),
                    identifier_key(key, row.level, row.identifier),
                    parse(cell),
                )
                known[value] = _joined(known[value], said, join) if value in known else said
    return Column(path, name, {level: levels[level] for level in LEVELS if level in levels}, count)


def _joined(before: T | None, said: T, join: Callable[[T, T], T | None] | None) -> T | None:
    if before is None:
        return None
    return join(before, said) if join else said if before == said else None


def columns_of(path: Path) -> frozenset[str]:
    """The names of the columns of the table at `path`, in small letters. Raises InputError."""
    with open_table(path) as table:
        return frozenset(table.columns)
