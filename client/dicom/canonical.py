"""An item → the canonical tensor of the study, `canonical/v1` (DICOM.md §8): the one door from files to tensors."""

import numpy as np
from numpy.typing import NDArray

from client.dicom.item import Item
from client.dicom.pixels.image import read_image
from client.dicom.reasons import LeftOutError, Reason
from shared.study import Input


def canonical(item: Item, spec: Input) -> NDArray[np.float32]:
    """float32 `spec.shape` in [0, 1]. Raises LeftOutError."""
    (part,) = item.parts
    try:
        status = part.location.path.stat()
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    if (status.st_size, status.st_mtime_ns, status.st_ino) != part.stamp:
        raise LeftOutError(Reason.CHANGED)
    return read_image(part.location.path, spec)
