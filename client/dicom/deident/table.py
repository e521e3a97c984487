"""Table E.1-1 of PS3.15 (edition 2026c): which action each attribute gets under a profile.

Guarantees: every row of table.csv is read, and a row that is none raises; a combined action is resolved as the table
asks, by whether the attribute is required where it stands: "X/Z/D" is X, unless Z (type 2) or D (type 1) is needed to
keep the object valid. Where a retaining and a cleaning option speak of one attribute, it is cleaned.

    >>> by_tag()[0x00080023].basic_action(required=2)
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

    def basic_action(self, required: int) -> Action:
        """The action of the Basic Profile, for an attribute of type `required`, 1, 2 or 3 (PS3.5 7.4)."""
        choices = [Action(choice) for choice in self.basic.rstrip("*").split("/")]
        if required == 2 and Action.EMPTY in choices:
            return Action.EMPTY
        return choices[0] if required == 3 else choices[-1]

    def action(self, profile: Profile, required: int) -> Action:
        """The action under `profile`."""
        chosen = {action for option, action in self.options.items() if option in profile.options}
        if Action.CLEAN in chosen:
            return Action.CLEAN
        return Action.KEEP if chosen else self.basic_action(required)


@cache
def rows() -> tuple[Row, ...]:
    """All rows, by tag, the patterns last."""
    return tuple(
        Row(line["tag"], line["keyword"], line["basic"], dict(_options(line["options"]))) for line in facts("table.csv")
    )


@cache
def by_tag() -> Mapping[int, Row]:
    """The rows that name one tag."""
    return {row.number: row for row in rows() if row.number is not None}


def _options(text: str) -> Iterator[tuple[Option, Action]]:
    for pair in text.split():
        option, _, action = pair.partition("=")
        yield Option(option), Action(action)


def facts(name: str) -> Iterator[dict[str, str]]:
    """The lines of a CSV file of this package, comments left out."""
    text = files(__package__).joinpath(name).read_text(encoding="ascii")
    yield from csv.DictReader((line for line in text.splitlines() if not line.startswith("#")), strict=True)
