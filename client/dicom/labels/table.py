"""The label file: a CSV whose rows name images, files, series, studies or patients, and what is known of them.

Guarantees: identifiers are hashed as they are read and never kept; a row speaks for the most specific identifier it
gives, and the most specific row that matches an image wins; two rows that say different things of the same identifier
make a conflict, never a choice.

Findings stand in one column, several of them with | between (no table is delimited by it):

    sop_instance_uid,label
    1.2.826.0.1.3680043.8.498.1,edema|pneumonia

or each in a column of its own, 1 there, 0 not there, -1 uncertain, empty not spoken of:

    patient_id,edema,pneumonia
    4711,1,-1
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.dicom.labels.findings import Said
from client.dicom.labels.labels import Labels, Remark, Statement, gather
from client.dicom.labels.levels import identifier_key
from client.dicom.labels.rows import Row, Table, open_table
from shared.errors import InputError

__all__ = ["Labels", "Layout", "read_labels"]

#: Between findings of one cell.
SEPARATOR = "|"

_UNCERTAIN = ("-1", "-1.0")
_PRESENT, _ABSENT = ("1", "1.0", "true", "yes", "y"), ("0", "0.0", "false", "no", "n")
_VALUES = dict.fromkeys(_PRESENT, "present") | dict.fromkeys(_ABSENT, "absent") | dict.fromkeys(("", *_UNCERTAIN), "")


@dataclass(frozen=True)
class Layout:
    """How a table says what is known. `column` if the table has it, else the columns named in `findings`."""

    column: str = "label"
    #: columns of one finding each, as the study spells them; those the table lacks are not spoken of
    findings: tuple[str, ...] = ()
    #: what -1 says: nothing that could be used, or as 1, or as 0
    uncertain: Literal["unknown", "present", "absent"] = "unknown"
    #: what 0 says: "no " makes it the finding "no edema"; "" only that the finding is not there
    absent: str = ""
    #: rows of one identifier add up: the table has a row for each finding
    several: bool = False
    #: each of `findings` is to be known of every image: by a column of its own for each, which then go before `column`,
    #: an empty cell being -1; or by `column`, whose rows add up and name all findings there are
    each: bool = False


#: Row → what it says, and whether a value in it was wrong.
Reader = Callable[[Row], tuple[Said, bool]]


def read_labels(path: Path, key: bytes, layout: Layout | None = None) -> Labels:
    """The label file at `path`, hashed under the site's `key`. Raises InputError saying what it lacks."""
    layout = layout or Layout()
    silent, wrong = list[int](), list[int]()
    with open_table(path) as table:
        statements = _statements(table, key, _reader(table, layout), silent, wrong)
        listed = layout.each and not _columns(table, layout)
        labels = gather(path, statements, several=layout.several or listed)
    if not labels.rows:
        raise InputError(f"label file {path}", expected="rows with an identifier and a label", got="none")
    remarks = {Remark.SILENT: tuple(silent), Remark.WRONG_VALUE: tuple(wrong)}
    return Labels(path, labels.levels, labels.rows, {remark: rows for remark, rows in remarks.items() if rows})


def _statements(table: Table, key: bytes, read: Reader, silent: list[int], wrong: list[int]) -> Iterator[Statement]:
    """One for each row that says something; the numbers of the others go to `silent`, of wrong values to `wrong`."""
    for row in table.rows:
        said, mistaken = read(row)
        if mistaken:
            wrong.append(row.number)
        if row.level and said:
            yield Statement(row.number, row.level, identifier_key(key, row.level, row.identifier), said)
        elif any(row.cells):
            silent.append(row.number)


def _reader(table: Table, layout: Layout) -> Reader:
    """How the rows of `table` are read. Raises InputError if it has none of the columns, or not `each`."""
    place, columns = table.place(layout.column), _columns(table, layout)
    if place is not None and not (layout.each and columns):
        return lambda row: (_listed(row.cells[place]), False)
    if columns and not (layout.each and len(columns) < len(layout.findings)):
        return lambda row: _marked([(name, row.cells[place]) for name, place in columns], layout)
    expected = f"a column '{layout.column}'"
    if layout.findings:
        expected += f" or a column for {'each' if layout.each else 'a'} finding ({', '.join(layout.findings)})"
    lacking = ", ".join(f"'{name}'" for name in layout.findings if columns and name not in dict(columns))
    do = f"Add {lacking}." if lacking else "Add or name it."
    raise InputError(f"label file {table.path}", expected=expected, got=", ".join(table.columns), do=do)


def _columns(table: Table, layout: Layout) -> list[tuple[str, int]]:
    """The findings with a column of their own, and where it is."""
    return [(name, place) for name in layout.findings if (place := table.place(name)) is not None]


def _listed(cell: str) -> Said:
    return Said(frozenset(part.strip() for part in cell.split(SEPARATOR)) - {""})


def _marked(cells: list[tuple[str, str]], layout: Layout) -> tuple[Said, bool]:
    """What the columns of findings say, and whether a value was wrong: then its finding is unsure."""
    sets: dict[str, set[str]] = {"present": set(), "absent": set(), "unknown": set()}
    mistaken = False
    for name, cell in cells:
        value = _VALUES.get(cell.lower(), "unknown")
        mistaken |= cell.lower() not in _VALUES
        if layout.each and not cell:
            value = "unknown"
        if cell in _UNCERTAIN:
            value = layout.uncertain
        if value:
            sets[value].add(name)
    if layout.absent:
        sets["present"] |= {layout.absent + name for name in sets["absent"]}
    return Said(frozenset(sets["present"]), frozenset(sets["absent"]), frozenset(sets["unknown"])), mistaken
