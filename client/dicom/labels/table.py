"""The label file: a CSV whose rows name images, series, studies or patients, and what is known of them.

Guarantees: identifiers are hashed as they are read and never kept; a row speaks for the most specific
identifier it gives, and the most specific row that matches an image wins; two rows that say different things of
the same identifier make a conflict, never a choice.

    sop_instance_uid,label
    1.2.826.0.1.3680043.8.498.1,clear
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from client.dicom.keys import short_key
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Entry
from shared.errors import InputError

#: Identifier columns, most specific first, and the names under which they are known.
LEVELS: Mapping[str, tuple[str, ...]] = {
    "sop_instance_uid": ("sop_uid", "sopinstanceuid", "instance_uid", "image_uid"),
    "series_instance_uid": ("series_uid", "seriesinstanceuid"),
    "study_instance_uid": ("study_uid", "studyinstanceuid"),
    "accession_number": ("accession", "accessionnumber"),
    "patient_id": ("patientid", "patient"),
}

#: How each level's identifier is hashed; the catalog hashes the same way.
KINDS: Mapping[str, str] = {
    "sop_instance_uid": "sop",
    "series_instance_uid": "series",
    "study_instance_uid": "study",
    "accession_number": "accession",
    "patient_id": "bare-patient",
}


@dataclass(frozen=True)
class Labels:
    """What a label file says. `levels`: level → keyed hash → label, None where rows contradict each other."""

    source: Path
    column: str
    levels: Mapping[str, Mapping[bytes, str | None]]
    rows: int

    def match(self, entry: Entry) -> tuple[str, bytes] | None:
        """The level and hash of the row that speaks for `entry`, most specific first; None if none does."""
        hashes = (entry.sop, entry.series, entry.study, entry.accession, entry.bare_patient)
        for level, value in zip(LEVELS, hashes, strict=True):
            if value and value in self.levels.get(level, {}):
                return level, value
        return None

    def of(self, entry: Entry) -> str | Reason:
        """The label of `entry`, or why it has none."""
        matched = self.match(entry)
        if matched is None:
            return Reason.NO_LABEL
        label = self.levels[matched[0]][matched[1]]
        return Reason.LABEL_CONFLICT if label is None else label

    def require_match(self, matched: int) -> None:
        """Raises InputError if the file matched no image at all."""
        if matched:
            return
        tried = ", ".join(self.levels)
        raise InputError(
            f"label file {self.source}",
            expected=f"rows that match images of the archive by {tried}",
            got=f"{self.rows} rows, of which none matches",
            do="Check that this file belongs to this archive and that its identifiers are those inside the DICOM files "
            f"(known columns: {', '.join(LEVELS)}).",
        )


def read_labels(path: Path, key: bytes, column: str = "label") -> Labels:
    """The label file at `path`, its labels in `column`. Raises InputError saying what it lacks."""
    levels: dict[str, dict[bytes, str | None]] = {}
    count = 0
    for level, identifier, label in _rows(path, column):
        count += 1
        known = levels.setdefault(level, {})
        value = short_key(key, KINDS[level], identifier.encode())
        known[value] = label if known.get(value, label) == label else None
    if not count:
        raise InputError(f"label file {path}", expected="rows with an identifier and a label", got="none")
    order = {level: levels[level] for level in LEVELS if level in levels}
    return Labels(path, column, order, count)


def _rows(path: Path, column: str) -> Iterator[tuple[str, str, str]]:
    """Level, identifier and label of every row that gives both."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            table = csv.DictReader(file, delimiter=delimiter, strict=True)
            names = {name.strip().lower(): name for name in table.fieldnames or ()}
            places = _columns(names, path)
            if column.lower() not in names:
                found = ", ".join(names) or "nothing"
                raise InputError(f"label file {path}", expected=f"a column '{column}'", got=found, do="Add or name it.")
            for row in table:
                label = (row[names[column.lower()]] or "").strip()
                given = ((level, (row[name] or "").strip()) for level, name in places.items())
                first = next(((level, value) for level, value in given if value), None)
                if first and label:
                    yield *first, label
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        got = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"label file {path}", expected="a readable CSV file in UTF-8", got=got) from None


def _columns(names: Mapping[str, str], path: Path) -> dict[str, str]:
    """Level → name of its column in this file, most specific level first."""
    found: dict[str, str] = {}
    for level, aliases in LEVELS.items():
        name = next((names[alias] for alias in (level, *aliases) if alias in names), None)
        if name is not None:
            found[level] = name
    if not found:
        got = f"columns {', '.join(names)}" if names else "no header line"
        raise InputError(
            f"label file {path}", expected=f"a column {' or '.join(LEVELS)}", got=got, do="Add one of these columns."
        )
    return found
