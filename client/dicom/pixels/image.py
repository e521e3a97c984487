"""One frame of a DICOM object → the canonical tensor of the study, `canonical/v1` (DICOM.md §8), for kind = "image".

Guarantees: the same object gives the same float32 values at every hospital, whatever else is installed there (decoders
are pinned in syntaxes.py); bright means bright, whatever the scanner's polarity; nothing but LeftOutError is raised
for an image that cannot be used.

    >>> canonical_image(open_object(data), 0, spec)  # float32 spec.shape in [0, 1]
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.colour import Colour, colour_of
from client.dicom.pixels.grey import Grey, gather, grey_of, joint_percentiles
from client.dicom.pixels.layout import GREY
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.resample import fits, resample, rounded
from client.dicom.pixels.stored import stored_frame
from client.dicom.reasons import LeftOutError, Reason
from shared.study import Input


def read_image(path: Path, spec: Input, frame: int = 0) -> NDArray[np.float32]:
    """Frame `frame` of the file at `path` as `canonical_image` gives it. Raises LeftOutError.

    For tests and benchmarks/decoding.py: studies go through client.dicom.canonical, which also sees whether a file has
    changed, reads members of zips and knows mosaics.
    """
    try:
        data = path.read_bytes()
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    return canonical_image(open_object(data), frame, spec)


def plane_of(dataset: Dataset, frame: int) -> Grey | Colour:
    """Frame `frame`, from 0, before any window. Raises LeftOutError."""
    stored = stored_frame(dataset, frame)
    return (grey_of if stored.photometric in GREY else colour_of)(dataset, frame, stored)


def canonical_image(dataset: Dataset, frame: int, spec: Input) -> NDArray[np.float32]:
    """Frame `frame`, from 0, of `dataset`: float32 [1 or 3, *spec.size] in [0, 1]. Raises LeftOutError: no_geometry if
    the study fixes the size of a pixel and the object does not tell it.

    For tests, of objects at hand: studies go through client.dicom.canonical, to the same two steps.
    """
    return on_grid(plane_of(dataset, frame), spec)


def on_grid(plane: Grey | Colour, spec: Input) -> NDArray[np.float32]:
    """`plane` as the study shows it, on the study's grid: float32 [1 or 3, *spec.size]. Raises LeftOutError."""
    size = (spec.size[0], spec.size[1])
    if isinstance(plane, Colour):
        return resample(plane.shown(color=spec.color), size, plane.spacing, spec.spacing)
    if spec.spacing is None and fits(plane.shape, size, plane.spacing):
        # nothing to interpolate: round the few levels instead of the many pixels
        table = plane.table(plane.window(spec) or joint_percentiles((plane,)))
        channel = gather(rounded(table), plane.index)[None]
    else:
        channel = resample(plane.shown(spec)[None], size, plane.spacing, spec.spacing)
    return np.repeat(channel, 3, axis=0) if spec.color else channel
