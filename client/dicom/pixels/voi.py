"""Values → brightness in [0, 1]: the windows and tables of PS3.3 C.11.2, and percentiles.

A `Window` says what brightness is to be made with, and of which values: of those of the modality, or of stored values,
as the scanner's own windows of MR and PT are meant (intensity.py). It is for one frame, but can be laid on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.functional import FRAME_VOI, first_item, macro
from client.dicom.pixels.lut import Lut, Values, lut_of
from client.dicom.pixels.values import decimal, text

_LUTS, _CENTRE, _WIDTH, _FUNCTION = 0x00283010, 0x00281050, 0x00281051, 0x00281056


class Voi(Protocol):
    """What makes brightness of values."""

    def __call__(self, values: Values) -> Values:
        """`values` in [0, 1], a new array."""


@dataclass(frozen=True)
class Linear:
    """LINEAR, PS3.3 C.11.2.1.2.1: c - 0.5 and w - 1, because a window of width w shows w whole numbers."""

    centre: float
    width: float

    def __call__(self, values: Values) -> Values:
        """`values` through the window."""
        if self.width <= 1:
            return (values > self.centre - 0.5).astype(np.float64)
        return np.clip((values - (self.centre - 0.5)) / (self.width - 1) + 0.5, 0, 1)


class LinearExact(Linear):
    """LINEAR_EXACT, PS3.3 C.11.2.1.3.2."""

    def __call__(self, values: Values) -> Values:
        """`values` through the window."""
        return np.clip((values - self.centre) / self.width + 0.5, 0, 1)


class Sigmoid(Linear):
    """SIGMOID, PS3.3 C.11.2.1.3.1."""

    def __call__(self, values: Values) -> Values:
        """`values` through the curve."""
        shown: Values = 1 / (1 + np.exp(np.clip(-4 * (values - self.centre) / self.width, -700, 700)))
        return shown


@dataclass(frozen=True)
class VoiLut:
    """A VOI LUT, PS3.3 C.11.2.1.1: its largest possible entry is white."""

    lut: Lut

    def __call__(self, values: Values) -> Values:
        """The entries for `values`."""
        return np.minimum(self.lut(values) / self.lut.top, 1)


@dataclass(frozen=True)
class Between:
    """`low` becomes 0 and `high` 1; with nothing between them everything is 0."""

    low: float
    high: float

    def __call__(self, values: Values) -> Values:
        """`values` between the limits."""
        if self.high <= self.low:
            return np.zeros_like(values)
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)


@dataclass(frozen=True)
class Window:
    """`voi`, of values of the modality; or of the stored values of a frame whose (slope, intercept) is `rescale`, which
    are (value - intercept) / slope in any frame."""

    voi: Voi
    rescale: tuple[float, float] | None = None

    def __call__(self, values: Values) -> Values:
        """Values of the modality in [0, 1]."""
        if self.rescale is None or self.rescale == (1, 0):
            return self.voi(values)
        slope, intercept = self.rescale
        return self.voi((values - intercept) / slope)


_FUNCTIONS = {"LINEAR": Linear, "LINEAR_EXACT": LinearExact, "SIGMOID": Sigmoid}


def file_voi(dataset: Dataset, frame: int, *, signed: bool) -> Voi | None:
    """What the file says of frame `frame`: its VOI LUT, or its window; the first of several (PS3.3 C.11.2.1). An
    enhanced object's frame VOI LUT (C.7.6.16.2.10) goes first. `signed`: the values may be negative. None: nothing
    usable. Raises ValueError for a damaged one."""
    item = macro(dataset, frame, FRAME_VOI)
    for source in (dataset,) if item is None else (item, dataset):
        lut = first_item(source, _LUTS)
        if lut is not None:
            return VoiLut(lut_of(lut, signed=signed))
        centre, width = decimal(source, _CENTRE), decimal(source, _WIDTH)
        if centre is not None and width is not None and width > 0:
            return _FUNCTIONS.get(text(source, _FUNCTION), Linear)(centre, width)
    return None


def percentiles(values: Values, counts: NDArray[np.int64], shares: Sequence[float]) -> tuple[float, ...]:
    """The `shares` (in percent) of a sample in which `values[i]` occurs `counts[i]` times, exactly as numpy.percentile
    interpolates them. Empty if nothing occurs."""
    seen = counts > 0
    values, counts = values[seen], counts[seen]
    order = np.argsort(values, kind="stable")
    values, behind = values[order], np.cumsum(counts[order])
    if not len(values):
        return ()
    last = int(behind[-1]) - 1
    return tuple(_at(values, behind, last * (share / 100), last) for share in shares)


def _at(values: Values, behind: NDArray[np.int64], place: float, last: int) -> float:
    """The value at `place` of the sorted sample, of which `behind` counts those up to each value."""
    floor = min(int(place), last)
    part = place - floor
    low, high = (float(values[np.searchsorted(behind, rank, side="right")]) for rank in (floor, min(floor + 1, last)))
    # from the nearer end, as numpy does
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
