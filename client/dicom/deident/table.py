"""Table E.1-1 of PS3.15 (edition 2026c): which action each attribute gets under a profile.

Guarantees: every row of table.csv is read, or the import of a damaged table fails; a combined action ("X/Z/D": X unless
Z or D is required to maintain IOD conformance) becomes its last alternative, which is valid in every IOD, whatever the
type of the attribute there, and discloses no more than the first. Where a retaining and a cleaning option speak of
one attribute, it is cleaned.

    >>> actions(Profile())[0x00100010]
    <Action.EMPTY: 'Z'>
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from client.dicom.deident.profile import Option, Profile

EDITION = "2026c"


class Action(StrEnum):
    """What is done with an attribute (PS3.15 E.1.1). KEEP of a sequence: its items are treated one by one."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    CLEAN = "C"


@dataclass(frozen=True)
class Row:
    """`tag`: eight hexadecimal digits, or the pattern of a group; `basic`: as printed; `options`: K or C of each."""

    tag: str
    keyword: str
    basic: str
    options: Mapping[Option, Action]

    @property
    def number(self) -> int | None:
        """The tag as a number; None for a pattern."""
        return int(self.tag, 16) if set(self.tag) <= set("0123456789ABCDEF") else None

    def basic_action(self) -> Action:
        """The one action of the Basic Profile: the last alternative (for X/Z/U*: UIDs within it are mapped)."""
        return Action(self.basic.rstrip("*").rpartition("/")[2])

    def action(self, profile: Profile) -> Action:
        """The action under `profile`."""
        chosen = {action for option, action in self.options.items() if option in profile.options}
        if Action.CLEAN in chosen:
            return Action.CLEAN
        return Action.KEEP if chosen else self.basic_action()


@cache
def rows() -> tuple[Row, ...]:
    """All rows, by tag, the patterns last."""
    text = files(__package__).joinpath("table.csv").read_text(encoding="ascii")
    return tuple(_rows(text))


def _rows(text: str) -> Iterator[Row]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    for line in csv.DictReader(lines, strict=True):
        pairs = (pair.split("=") for pair in line["options"].split())
        yield Row(
            line["tag"], line["keyword"], line["basic"], {Option(option): Action(action) for option, action in pairs}
        )


@cache
def actions(profile: Profile) -> Mapping[int, Action]:
    """Tag → action under `profile`, for the rows that name one tag."""
    return {row.number: row.action(profile) for row in rows() if row.number is not None}
