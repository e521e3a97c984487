"""An item → the canonical tensor of the study, `canonical/v1` (DICOM.md §8): the one door from files to tensors.

Guarantees: the same objects give the same float32 values at every hospital, whatever else is installed there; a file
that changed since the scan is not used; nothing but LeftOutError is raised for an item that cannot be used.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.geometry.mosaic import Tile, is_mosaic, tile_of
from client.dicom.item import Item, Part
from client.dicom.pixels.colour import Colour
from client.dicom.pixels.grey import Grey
from client.dicom.pixels.image import on_grid, plane_of
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.volume import canonical_stack, canonical_volume
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.containers import read
from client.dicom.scanning.unusual import MALFORMED
from shared.study import Input

#: No object of a study is larger.
OBJECT_LIMIT = 1 << 31


def canonical(item: Item, spec: Input) -> NDArray[np.float32]:
    """float32 `spec.shape` in [0, 1]. Raises LeftOutError."""
    opened = _Opened()
    if spec.kind == "image":
        (part,) = item.parts
        return on_grid(opened.plane(part), spec)
    planes = [opened.plane(part) for part in item.parts]
    if spec.kind == "stack":
        return canonical_stack(planes, spec)
    if item.affine is None:
        raise LeftOutError(Reason.NO_GEOMETRY)
    return canonical_volume(planes, np.reshape(item.affine, (4, 4)), spec)


class _Opened:
    """Frames as they are needed. Those of one object follow each other, so the last object is kept; and the tiles of a
    mosaic are one frame of it."""

    def __init__(self) -> None:
        self._last: tuple[Part, Dataset] | None = None
        self._mosaic: Grey | Colour | None = None

    def plane(self, part: Part) -> Grey | Colour:
        """The frame of `part`, before any window."""
        dataset = self._dataset(part)
        tile = tile_in(dataset, part.frame)
        if tile is None:
            return plane_of(dataset, part.frame)
        if self._mosaic is None:
            self._mosaic = plane_of(dataset, 0)
        if isinstance(self._mosaic, Colour):
            raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
        return self._mosaic.cut(*tile)

    def _dataset(self, part: Part) -> Dataset:
        if self._last is None or self._last[0].location != part.location:
            self._last = part, open_object(read(part.location, OBJECT_LIMIT, part.stamp))
            self._mosaic = None
        return self._last[1]


def tile_in(dataset: Dataset, frame: int) -> Tile | None:
    """Where tile `frame` lies in a mosaic; None if the object is none. Raises LeftOutError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            return tile_of(dataset, frame) if is_mosaic(dataset) else None
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None
