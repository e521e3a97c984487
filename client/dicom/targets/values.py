"""A number known of an image: a column of the table, or the patient's age as the image itself tells it.

Guarantees: what is no finite number is left out as unusable_label, never taken for 0.

>>> years("018M")
1.5
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from client.dicom.labels.column import Column, columns_of, read_column
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.targets.base import Fact, Known

#: The label that (0010,1010) answers where the table has no such column.
AGE = "age"
#: Age String (PS3.5 6.2): days, weeks, months, years, and how many there are in one year.
_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_MOST = float(np.finfo(np.float32).max)


class Values:
    """The numbers of a column."""

    apart = False

    def __init__(self, column: Column[float]) -> None:
        self._column = column

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return self._column.match(entry)

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """The number that all of `entries` of which one is said agree on."""
        value = self._column.of_all(entries)
        return value if isinstance(value, Reason) or abs(value) <= _MOST else Reason.UNUSABLE_LABEL

    def require_match(self, matched: int) -> None:
        """See `Known.require_match`."""
        self._column.require_match(matched)


class Ages:
    """Patient's Age (0010,1010) in years, of the first of the files that tell it."""

    apart = False

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return years(entry.age)

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """The age; no_label where no file tells it."""
        return next((age for entry in entries if (age := years(entry.age)) is not None), Reason.NO_LABEL)

    def require_match(self, matched: int) -> None:
        """An archive that tells no age has nothing to use, which is said then."""
        del matched


def read_values(source: Path, key: bytes, label: str) -> Known:
    """The column `label` of the table `source`; for AGE, where there is none, the images' own. Raises InputError."""
    if label.lower() == AGE and not (source.is_file() and AGE in columns_of(source)):
        return Ages()
    return Values(read_column(source, key, label, _number))


def years(text: str) -> float | None:
    """An Age String in years; None for anything else."""
    match = _AGE.fullmatch(text.strip().upper())
    return int(match[1]) / _PER_YEAR[match[2]] if match else None


def _number(cell: str) -> float:
    """∞ for what is none: equal to itself, unlike nan, so that two such cells are no conflict."""
    try:
        value = float(cell)
    except ValueError:
        return math.inf
    return value if math.isfinite(value) else math.inf
