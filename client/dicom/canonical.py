"""An item → the canonical tensor of the study, `canonical/v1` (DICOM.md §8): the one door from files to tensors.

Guarantees: the same objects give the same float32 values at every hospital, whatever else is installed there; a file
that changed since the scan is not used; nothing but LeftOutError is raised for an item that cannot be used.
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.item import Item, Part
from client.dicom.pixels.grey import Grey
from client.dicom.pixels.image import canonical_image, grey_plane, open_object
from client.dicom.pixels.volume import canonical_stack, canonical_volume
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.containers import read
from shared.study import Input

#: No object of a study is larger, as a file or unpacked.
OBJECT_LIMIT = 1 << 31


def canonical(item: Item, spec: Input) -> NDArray[np.float32]:
    """float32 `spec.shape` in [0, 1]. Raises LeftOutError."""
    opened = _Opened()
    if spec.kind == "image":
        (part,) = item.parts
        return canonical_image(opened.dataset(part), part.frame, spec)
    planes = [opened.plane(part) for part in item.parts]
    if spec.kind == "stack":
        return canonical_stack(planes, spec)
    if item.affine is None:
        raise LeftOutError(Reason.NO_GEOMETRY)
    return canonical_volume(planes, np.reshape(item.affine, (4, 4)), spec)


class _Opened:
    """Objects as they are needed: frames of one object follow each other, so the last one is kept."""

    def __init__(self) -> None:
        self._last: tuple[Part, Dataset] | None = None

    def plane(self, part: Part) -> Grey:
        """The grey frame of `part`."""
        return grey_plane(self.dataset(part), part.frame)

    def dataset(self, part: Part) -> Dataset:
        """The object of `part`."""
        if self._last is None or self._last[0].location != part.location:
            self._last = part, open_object(read(part.location, OBJECT_LIMIT, stamp=part.stamp))
        return self._last[1]
