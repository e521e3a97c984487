"""The `mask` column of a table: which file holds the mask of an image, beside or in place of its label.

Guarantees: as for labels (table.py): the most specific row that matches an image decides, rows that differ are a
conflict, identifiers are hashed; a file name leads nowhere outside the folder it is relative to. The word `none` says
that there is nothing to draw; an empty cell says nothing.

    sop_instance_uid,mask
    1.2.826.0.1.3680043.8.498.1,masks/1.png
    1.2.826.0.1.3680043.8.498.2,none
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.dicom.item import Location
from client.dicom.labels.column import Column, read_column
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.rows import open_table
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry

#: Of every label; or, with the label after it and a space between, of that one alone.
COLUMN = "mask"
#: Of an image on which there is nothing to draw.
NONE = "none"


@dataclass(frozen=True)
class MaskTable:
    """`names`: files relative to `folder`, or NONE."""

    folder: Path
    names: Column[str]

    @property
    def rows(self) -> int:
        """Rows that name a file, or none."""
        return self.names.rows

    def of(self, entry: Entry) -> Location | Reason | None:
        """The file of the mask of `entry`, None where there is nothing to draw; no_label or label_conflict if nothing
        is said. Raises MaskError(no_image) for a name that leads out of the folder."""
        name = self.names.of(entry)
        if isinstance(name, Reason):
            return name
        return None if name.lower() == NONE else _location(self.folder, name)


def _location(folder: Path, name: str) -> Location:
    try:
        path = (folder / name.replace("\\", "/")).resolve()
    except (OSError, ValueError):  # a name too long, or with a NUL
        raise MaskError(MaskFault.UNREADABLE) from None
    if not path.is_relative_to(folder.resolve()):
        raise MaskError(MaskFault.NO_IMAGE)
    return Location(path)


def read_mask_table(path: Path, key: bytes, column: str = COLUMN) -> MaskTable:
    """The table at `path`, its files relative to its own folder. Raises InputError saying what it lacks."""
    return MaskTable(path.parent, read_column(path, key, column, str))


def drawn_beside(path: Path) -> Iterator[Path]:
    """The files that the mask columns of the table at `path` name: they belong to the table, not to the archive."""
    with open_table(path) as table:
        places = [place for name, place in table.columns.items() if name == COLUMN or name.startswith(COLUMN + " ")]
        for row in table.rows if places else ():
            for place in places:
                if row.cells[place] and row.cells[place].lower() != NONE and "\0" not in row.cells[place]:
                    yield path.parent / row.cells[place].replace("\\", "/")
