"""The table of a collection of pictures: which picture, whose it is, its label, and whatever else is said of it.

Guarantees: every row names a picture once and has a label; what is wrong names the row, never the patient. Columns are
known by their names in small letters: image and label must be there, patient_id, age, sex and mask may; all others are
kept as they are, but for those by which a label file would take a row for another image's.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from client.dicom.labels.levels import LEVELS
from shared.errors import InputError

#: Digits of a number of pictures or of years.
MOST_DIGITS = 9
LABEL, MASK = "label", "mask"
#: What becomes of a column `label` while the labels are in another.
OTHER_LABEL = "original_label"
#: Columns that say which image or patient a row is of.
_IDENTIFIERS = frozenset(("image", *(level.replace("_", "") for level in LEVELS), *chain(*LEVELS.values())))


@dataclass(frozen=True)
class Row:
    """A line of the table; `number` counts from 1 below the header, `sex` is M, F, O or empty, `age` in years; `mask`:
    the name of a file, "none", or empty; `others`: column → cell."""

    number: int
    image: str = field(repr=False)
    patient: str = field(repr=False)
    label: str
    sex: str
    age: int | None
    mask: str = field(default="", repr=False)
    others: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_rows(data: bytes, source: str, label: str = LABEL, known: list[str] | None = None) -> tuple[Row, ...]:
    """The rows of the CSV `data`, labels in column `label`; `known` labels of numbered pictures fill in where the table
    has no such column. Raises InputError."""
    label = label.strip().lower()
    try:
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        names = {name.strip().lower(): name for name in table.fieldnames or ()}
        lacking = [name for name in ("image", label) if name not in names and not (name == LABEL and known)]
        if lacking:
            got = ", ".join(names) or "no header line"
            raise no_table(source, got, f"columns image and {label}; {' and '.join(lacking)} is missing")
        rows = tuple(_row(number, line, names, label, known) for number, line in enumerate(table, start=1))
    except (UnicodeDecodeError, csv.Error) as error:
        raise no_table(source, type(error).__name__) from None
    seen: set[str] = set()
    for row in rows:
        if row.image in seen:
            raise InputError(
                f"{source}, row {row.number}", expected="a picture once", got="one of an earlier row again"
            )
        seen.add(row.image)
    return rows


def _row(
    number: int, line: Mapping[str, str | None], names: Mapping[str, str], column: str, known: list[str] | None
) -> Row:
    cell = {name: (line[original] or "").strip() for name, original in names.items()}
    image = cell["image"]
    label = cell.get(column, "")
    if not label and known and is_number(image) and int(image) < len(known):
        label = known[int(image)]
    if not image or not label:
        raise InputError(f"label table, row {number}", expected="an image and a label", got="an empty cell")
    sex = cell.get("sex", "").upper()[:1]
    age = cell.get("age", "").partition(".")[0]
    return Row(
        number,
        image,
        cell.get("patient_id") or image,
        label,
        sex if sex in ("M", "F", "O") else "",
        int(age) if is_number(age) and int(age) < 1000 else None,
        cell.get(MASK, ""),
        _others(cell, column),
    )


def _others(cell: Mapping[str, str], column: str) -> dict[str, str]:
    """The columns that are kept, and the cells of one row in them."""
    kept = {name: text for name, text in cell.items() if name and name != MASK and not _identifies(name)}
    if column != LABEL and LABEL in kept:
        kept[OTHER_LABEL] = kept[LABEL]
    kept.pop(LABEL, None)
    return kept


def _identifies(name: str) -> bool:
    return re.sub(r"[^a-z0-9]", "", name) in _IDENTIFIERS


def is_number(text: str) -> bool:
    """Whether `text` is a whole number that is not absurd."""
    return text.isdecimal() and len(text) <= MOST_DIGITS


def no_table(source: str, got: str, expected: str = "a readable CSV file in UTF-8") -> InputError:
    """What is wrong with the table `source`."""
    return InputError(f"label table {source}", expected=expected, got=got, do="Name the table with --labels.")
