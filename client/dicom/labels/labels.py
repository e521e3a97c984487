"""All that a label file or a folder of reports says, ready to be asked for the findings of an image or a volume.

Guarantees: holds keyed hashes, findings and row numbers, never an identifier; the most specific row that matches an
image decides alone; contradictions stay contradictions whatever the order of the rows.

Rows are numbered as a spreadsheet numbers them: the header is row 1. Of a folder of reports, the row is the place of
the file in the order of paths, from 1.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from client.dicom.labels.findings import Said, add, agree
from client.dicom.labels.levels import LEVELS, find
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from shared.errors import InputError

Rows = tuple[int, ...]


class Remark(StrEnum):
    """What is to be said of a row beside its statement, in words a person can act on."""

    SILENT = "gives no identifier or says nothing"
    WRONG_VALUE = "has a value other than 1, 0, -1 or nothing in a column of a finding"
    UNREADABLE = "cannot be read as the DICOM object it says it is"
    UNVERIFIED = "is a report that nobody has verified"
    SUPERSEDED = "is a report that a later one replaces"
    NO_CODE = "is a report without a coded finding"


@dataclass(frozen=True, slots=True)
class Claim:
    """What `rows` say of one identifier; `said` is None where they contradict each other."""

    said: Said | None
    rows: Rows


@dataclass(frozen=True, slots=True)
class Statement:
    """What `row` says of the identifier that `value` names at `level` (levels.identifier_key)."""

    row: int
    level: str
    value: bytes
    said: Said


@dataclass(frozen=True)
class Labels:
    """What `source` says. `levels`: level → keyed hash → claim; `rows`: how many rows make a statement."""

    source: Path
    levels: Mapping[str, Mapping[bytes, Claim]] = field(repr=False)
    rows: int
    remarks: Mapping[Remark, Rows] = field(default_factory=dict)

    def match(self, entry: Entry) -> tuple[str, bytes] | None:
        """The level and hash of the claim that speaks for `entry`, most specific first; None if none does."""
        return find(self.levels, entry)

    def of(self, entry: Entry, about: Collection[str] = ()) -> tuple[str, ...] | Reason:
        """The findings of `entry`, sorted, or why there are none; () says that none of those asked for is there.

        `about`: the labels of the study. An image of whose label its row is unsure has no label.
        """
        matched = self.match(entry)
        if matched is None:
            return Reason.NO_LABEL
        said = self.levels[matched[0]][matched[1]].said
        if said is None:
            return Reason.LABEL_CONFLICT
        if not said.unsure.isdisjoint(about) or not (said.present or said.absent):
            return Reason.NO_LABEL
        return tuple(sorted(said.present))

    def label_of(self, entries: Iterable[Entry], about: Collection[str] = ()) -> tuple[str, ...] | Reason:
        """The findings of a volume or stack from those of its slices: all that have any must agree.

        Slices without a row say nothing: a table often names one image of a series.
        """
        found = {self.of(entry, about) for entry in entries} - {Reason.NO_LABEL}
        if len(found) > 1:
            return Reason.LABEL_CONFLICT
        return found.pop() if found else Reason.NO_LABEL

    def require_match(self, matched: int) -> None:
        """Raises InputError if the source matched no image at all."""
        if matched:
            return
        tried = ", ".join(self.levels) or "nothing"
        raise InputError(
            f"labels {self.source}",
            expected=f"rows that match images of the archive by {tried}",
            got=f"{self.rows} rows, of which none matches",
            do="Check that this file belongs to this archive and that its identifiers are those inside the DICOM files "
            f"(known columns: {', '.join(LEVELS)}).",
        )


def gather(
    source: Path, statements: Iterable[Statement], *, several: bool, remarks: Mapping[Remark, Rows] | None = None
) -> Labels:
    """Labels from `statements`. `several`: rows of one identifier add up; else all of them must say the same."""
    join = add if several else agree
    levels: dict[str, dict[bytes, Claim]] = {}
    more: dict[tuple[str, bytes], list[int]] = {}  # rows after the first: a wrong column may give a million of them
    known: dict[Said, Said] = {}
    rows = set[int]()
    for statement in statements:
        said = known.setdefault(statement.said, statement.said)  # a million rows hold a handful of statements
        claims = levels.setdefault(statement.level, {})
        before = claims.get(statement.value)
        rows.add(statement.row)
        if before is None:
            claims[statement.value] = Claim(said, (statement.row,))
        else:
            claims[statement.value] = Claim(join(before.said, said), before.rows)
            more.setdefault((statement.level, statement.value), []).append(statement.row)
    for (level, value), others in more.items():
        claim = levels[level][value]
        levels[level][value] = Claim(claim.said, (*claim.rows, *others))
    ordered = {level: levels[level] for level in LEVELS if level in levels}
    return Labels(source, ordered, len(rows), dict(remarks or {}))
