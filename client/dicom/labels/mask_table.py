"""The `mask` column of a table: which file holds the mask of an image, beside or in place of its label.

Guarantees: as for labels (table.py): the most specific row that matches an image decides, rows that differ are a
conflict, identifiers are hashed; a file name leads nowhere outside the folder it is relative to.

    sop_instance_uid,mask
    1.2.826.0.1.3680043.8.498.1,masks/1.png
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.dicom.item import Location
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.levels import find, identifier_key
from client.dicom.labels.rows import open_table
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from shared.errors import InputError

COLUMN = "mask"


@dataclass(frozen=True)
class MaskTable:
    """`levels`: level → keyed hash → name of a file relative to `folder`, None where rows contradict each other."""

    folder: Path
    levels: Mapping[str, Mapping[bytes, str | None]] = field(repr=False)
    rows: int

    def of(self, entry: Entry) -> Location | Reason:
        """The file of the mask of `entry`; no_label or label_conflict if there is none. Raises MaskError(no_image) for
        a name that leads out of the folder."""
        matched = find(self.levels, entry)
        if matched is None:
            return Reason.NO_LABEL
        name = self.levels[matched[0]][matched[1]]
        if name is None:
            return Reason.LABEL_CONFLICT
        try:
            path = (self.folder / name.replace("\\", "/")).resolve()
        except (OSError, ValueError):  # a name too long, or with a NUL
            raise MaskError(MaskFault.UNREADABLE) from None
        if not path.is_relative_to(self.folder.resolve()):
            raise MaskError(MaskFault.NO_IMAGE)
        return Location(path)


def read_mask_table(path: Path, key: bytes, column: str = COLUMN) -> MaskTable:
    """The table at `path`, its files relative to its own folder. Raises InputError saying what it lacks."""
    levels: dict[str, dict[bytes, str | None]] = {}
    count = 0
    with open_table(path) as table:
        place = table.place(column)
        if place is None:
            got = ", ".join(table.columns)
            raise InputError(f"label file {path}", expected=f"a column '{column}'", got=got, do="Add or name it.")
        for row in table.rows:
            if row.level and (name := row.cells[place]):
                count += 1
                known = levels.setdefault(row.level, {})
                value = identifier_key(key, row.level, row.identifier)
                known[value] = name if known.get(value, name) == name else None
    return MaskTable(path.parent, levels, count)
