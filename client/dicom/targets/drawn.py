"""Which masks are drawn on an image: by the columns of a table, or by the series that DICOM objects name.

Guarantees: a file is named with its size and time of change, so a mask that was redrawn is decoded again; an image of
which nothing is said is left out as no_label, one whose mask is not there or leads elsewhere as unusable_label.

A table names one file for all labels (`mask`: segments under the labels' names; a drawn image with one label, or with
labels that are its values), or one for each (`mask nodule`, `mask scar`). The word `none` says that nothing is there.
"""

from collections.abc import Sequence
from pathlib import Path

from client.dicom.item import Location
from client.dicom.keys import file_key
from client.dicom.labels.column import columns_of
from client.dicom.labels.faults import MaskError
from client.dicom.labels.mask_table import COLUMN, MaskTable, read_mask_table
from client.dicom.labels.masks import Masks, read_masks
from client.dicom.labels.source import is_table
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.targets.base import Fact, Known
from client.dicom.targets.outline import ANY_LABEL, Drawn, Outline
from shared.errors import InputError
from shared.wire import digest

#: Levels of a table (labels/levels.py) at which a row speaks of one image.
_OF_ONE = ("sop_instance_uid", "file")
#: Label, file, and whether it is said of more than one image.
_Told = tuple[int, Location, bool]


def read_drawn(source: Path, key: bytes, labels: tuple[str, ...]) -> Known:
    """The masks that `source` tells of: a table, or a folder or zip of SEG and RTSTRUCT. Raises InputError."""
    if not is_table(source):
        masks = read_masks(source, key)
        if not masks.sources:
            got = f"none that can be read of {len(masks.faults)}" if masks.faults else "none"
            do = "Point at a folder with them, or at a CSV file with a column mask."
            raise InputError(f"masks {source}", expected="DICOM segmentations or structure sets", got=got, do=do)
        return SeriesMasks(masks, key)
    columns = columns_of(source)
    own = [f"{COLUMN} {label}" for label in labels]
    if all(name.lower() in columns for name in own) and labels:
        return TableMasks(key, [(index, read_mask_table(source, key, name)) for index, name in enumerate(own)])
    if COLUMN not in columns and any(name.lower() in columns for name in own):
        lacking = next(name for name in own if name.lower() not in columns)
        raise InputError(f"label file {source}", expected=f"a column '{lacking}'", got="none", do="Add or name it.")
    if COLUMN not in columns:
        expected = f"a column '{COLUMN}', or one for each label ({', '.join(own)})"
        do = "Add it, with the file of each image's mask, or none."
        raise InputError(f"label file {source}", expected=expected, got=", ".join(sorted(columns)), do=do)
    return TableMasks(key, [(ANY_LABEL, read_mask_table(source, key))])


class TableMasks:
    """What the tables of masks say, each of one label or of ANY_LABEL."""

    apart = True

    def __init__(self, key: bytes, tables: Sequence[tuple[int, MaskTable]]) -> None:
        self._key, self._tables = key, tables

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return next((found for _, table in self._tables if (found := table.names.match(entry))), None)

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """The files drawn on `entries`. All that any table says of them, and each table must say something."""
        drawn: dict[_Told, set[bytes]] = {}
        bare: list[set[bytes]] = []
        for label, table in self._tables:
            bare.append(set())
            try:
                said = [(entry, table.of(entry)) for entry in entries]
            except MaskError:
                return Reason.UNUSABLE_LABEL
            told = [place for _, place in said if place is not Reason.NO_LABEL]
            if not told or Reason.LABEL_CONFLICT in told:
                return Reason.LABEL_CONFLICT if told else Reason.NO_LABEL
            for entry, place in said:
                if place is None:
                    bare[-1].add(entry.file)
                elif isinstance(place, Location):
                    level, _ = table.names.match(entry) or ("", b"")
                    drawn.setdefault((label, place, level not in _OF_ONE), set()).add(entry.file)
        return _outline(self._key, drawn, frozenset(set.intersection(*bare)))

    def require_match(self, matched: int) -> None:
        """See `Known.require_match`."""
        self._tables[0][1].names.require_match(matched)


class SeriesMasks:
    """Segmentations and structure sets, each drawn on whole series."""

    apart = True

    def __init__(self, masks: Masks, key: bytes) -> None:
        self._masks, self._key = masks, key

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return self._masks.of(entry.series) or None

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """The files drawn on the series of `entries`."""
        drawn = {
            (ANY_LABEL, source.location, True): {entry.file for entry in entries}
            for source in self._masks.of(entries[0].series)
        }
        return _outline(self._key, drawn, frozenset()) if drawn else Reason.NO_LABEL

    def require_match(self, matched: int) -> None:
        """Raises InputError if no mask is drawn on any series of the archive."""
        if not matched:
            raise InputError(
                "masks",
                expected="segmentations or structure sets drawn on series of the archive",
                got=f"{len(self._masks.sources)}, of which none is",
                do="konsil-client scan ARCHIVE --masks FOLDER says what they are drawn on.",
            )


def _outline(key: bytes, drawn: dict[_Told, set[bytes]], bare: frozenset[bytes]) -> Fact | Reason:
    try:
        files = tuple(
            Drawn(place, label, _name(key, place), frozenset(owners), shared)
            for (label, place, shared), owners in drawn.items()
        )
    except OSError:  # no such file
        return Reason.UNUSABLE_LABEL
    return Outline(files, bare)


def _name(key: bytes, place: Location) -> bytes:
    """16 bytes that name the file at `place` and its state. Raises OSError."""
    status = place.path.stat()
    state = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}".encode()
    return digest("konsil/drawn/v1", file_key(key, str(place.path), place.member), state)[:16]
