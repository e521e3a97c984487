"""Boxes around findings: from a column of the table, or around what is drawn in a mask.

    sop_instance_uid,boxes
    1.2.826.0.1.3680043.8.498.1,10 20 30.5 44 nodule|5 5 9 9 nodule
    1.2.826.0.1.3680043.8.498.2,none

A box is its first row, first column, last row and last column, edges in pixels of the image, whose first pixel lies
from 0 to 1; then its label, which may be left out where the study has one. Rows of one image add up. Guarantees: a box
that cannot be read costs its image (unusable_label), never only itself; boxes of other labels than the study's are no
boxes of it.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.labels.column import Column, read_column
from client.dicom.labels.mask_table import NONE
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.entry import Entry
from client.dicom.targets.base import Fact
from client.dicom.targets.outline import Box, Outline

COLUMN = "boxes"
#: Boxes of one image at most: it is the K of every target.
MOST = 32

#: Of one cell: its boxes with their labels, None what cannot be read.
Cell = tuple[tuple[str, tuple[float, float, float, float]] | None, ...]


class TableBoxes:
    """What the column says."""

    apart = True

    def __init__(self, column: Column[Cell], labels: tuple[str, ...]) -> None:
        self._column, self._labels = column, labels

    @classmethod
    def read(cls, source: Path, key: bytes, labels: tuple[str, ...]) -> "TableBoxes":
        """The column `boxes` of the table `source`. Raises InputError."""
        return cls(read_column(source, key, COLUMN, _cell, _both), labels)

    def match(self, entry: Entry) -> object:
        """See `Known.match`."""
        return self._column.match(entry)

    def of(self, entries: Sequence[Entry]) -> Fact | Reason:
        """The boxes on the image that `entries` are."""
        cell = self._column.of_all(entries)
        if isinstance(cell, Reason):
            return cell
        boxes = []
        for one in cell:
            if one is None or (not one[0] and len(self._labels) > 1):
                return Reason.UNUSABLE_LABEL
            label, (top, left, bottom, right) = one
            if not label or label in self._labels:
                boxes.append(Box(self._labels.index(label) if label else 0, (top, left), (bottom, right)))
        return Outline(bare=frozenset(entry.file for entry in entries), boxes=tuple(boxes))

    def require_match(self, matched: int) -> None:
        """See `Known.require_match`."""
        self._column.require_match(matched)


def _cell(cell: str) -> Cell:
    if cell.lower() == NONE:
        return ()
    return tuple(_box(part) for part in cell.split("|"))


def _both(one: Cell, other: Cell) -> Cell | None:
    """Two rows of one image: their boxes together; none beside some is a contradiction."""
    return one + other if bool(one) == bool(other) else None


def _box(text: str) -> tuple[str, tuple[float, float, float, float]] | None:
    words = text.split(maxsplit=4)
    try:
        top, left, bottom, right = map(float, words[:4])
    except ValueError:
        return None
    if not all(map(math.isfinite, (top, left, bottom, right))) or top >= bottom or left >= right:
        return None
    return (words[4].strip() if len(words) > 4 else ""), (top, left, bottom, right)


def around(mask: NDArray[np.uint8], labels: int) -> NDArray[np.float32]:
    """Boxes around the connected parts of `mask`, uint8 [*size], 0 or 1 + index of one of `labels` → float32
    [n, 1 + 2 × sides]: index, the least edge along each side, the greatest along each side. Parts that touch at a
    corner are one."""
    from scipy.ndimage import find_objects, label  # noqa: PLC0415  half of a decoding process's start

    rows = []
    for index in range(labels):
        parts, _ = label(mask == index + 1, structure=np.ones((3,) * mask.ndim))
        rows += [[index, *(side.start for side in box), *(side.stop for side in box)] for box in find_objects(parts)]
    return np.array(rows, np.float32).reshape(-1, 1 + 2 * mask.ndim)


def padded(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, 1 + 2 × sides] → [MOST, …], −1 where there is none. Raises LeftOutError(unusable_label) for more boxes.

    It stays so long for every image, however few boxes a hospital has: with places for the most that any of its images
    has, one patient more would change how everybody's boxes round when they are moved (docs/privacy.md, Arithmetic).
    """
    if len(boxes) > MOST:
        raise LeftOutError(Reason.UNUSABLE_LABEL)
    rows = np.full((MOST, boxes.shape[1]), -1, np.float32)
    rows[: len(boxes)] = boxes
    return rows
