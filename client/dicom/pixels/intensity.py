"""Stored values → values that mean the same in every slice: padding, then the modality transform (PS3.3 C.11.1).

The policy, because the standard leaves it to the IOD whether Rescale Slope and Intercept are part of what is displayed:

- Modality LUT, or else slope and intercept; never both (C.11.1). In an enhanced object the frame's own pixel value
  transformation (C.7.6.16.2.9), then the one all frames share, then the object's.
- XA and RF stored as LOG or DISP: neither. There they lead back to beam intensity, not to what is to be shown
  (C.8.7.1.1.2).
- MR and PT: slope and intercept make slices comparable (a PET slice has its own slope, C.8.9.4), so fixed windows and
  percentiles speak of rescaled values. But the file's own window speaks of stored values: neither IOD has a Modality
  LUT (A.4.3, A.21.3), and the writers mean it so (Philips MR; PET less uniformly, so prefer percentiles there).
  Not in enhanced objects, whose VOI comes behind the pixel value transformation (C.7.6.16.2.10).
- Everything else: the window speaks of values after the transform (C.11.2.1.2).

Private scale factors (Philips (2005,100E)) and real world values (0040,9096) are not applied.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels.functional import PIXEL_TRANSFORMATION, first_item, macro
from client.dicom.pixels.layout import Layout
from client.dicom.pixels.lut import Lut, Values, lut_of
from client.dicom.pixels.values import decimal, text, whole
from client.dicom.scanning.elements import DOUBLE_PIXELS, FLOAT_PIXELS

Mask = NDArray[np.bool_]
Levels = NDArray[np.int64] | NDArray[np.float64]

MODALITY, RELATIONSHIP = 0x00080060, 0x00281040
MODALITY_LUT, INTERCEPT, SLOPE = 0x00283000, 0x00281052, 0x00281053

#: Pixel Padding Value and its Range Limit, of whole numbers, floats and doubles (PS3.3 C.7.5.1.1.2)
_PADDING = {FLOAT_PIXELS: (0x00280122, 0x00280124), DOUBLE_PIXELS: (0x00280123, 0x00280125)}
_WHOLE_PADDING = (0x00280120, 0x00280121)


def padding_mask(dataset: Dataset, levels: Levels, layout: Layout) -> Mask:
    """Where `levels`, stored values, are Pixel Padding Value, or between it and the Range Limit, both included (PS3.3
    C.7.5.1.1.2); or no numbers at all. The limits may stand in the header with the wrong sign."""
    if levels.dtype.kind == "f":
        one, other = _PADDING[layout.element]
        ends = [_real(dataset, tag) for tag in (one, other) if tag in dataset]
        mask = ~np.isfinite(levels)
    else:
        one, other = _WHOLE_PADDING
        found = [whole(dataset, tag) for tag in (one, other)]
        ends = [_as_stored(end, layout) for end in found if end is not None]
        mask = np.zeros(levels.shape, dtype=np.bool_)
    if not ends or one not in dataset:
        return mask
    return mask | ((levels >= min(ends)) & (levels <= max(ends)))


def _real(dataset: Dataset, tag: int) -> float:
    return float(dataset[tag].value)


def _as_stored(value: int, layout: Layout) -> int:
    value &= (1 << layout.allocated) - 1
    negative = layout.signed and value >> (layout.allocated - 1)
    return value - (1 << layout.allocated) if negative else value


@dataclass(frozen=True)
class Rescale:
    """slope × stored value + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, levels: Levels) -> Values:
        """Values of the modality."""
        values = levels.astype(np.float64)
        if (self.slope, self.intercept) == (1, 0):
            return values
        return values * self.slope + self.intercept


def modality_transform(dataset: Dataset, frame: int, *, signed: bool) -> Rescale | Lut:
    """The transform of frame `frame`, from stored values to values of the modality. Raises ValueError."""
    if text(dataset, MODALITY) in ("XA", "RF") and text(dataset, RELATIONSHIP) in ("LOG", "DISP"):
        return Rescale()
    item = macro(dataset, frame, PIXEL_TRANSFORMATION)
    source = dataset if item is None else item
    lut = first_item(source, MODALITY_LUT)
    if lut is not None:
        return lut_of(lut, signed=signed)
    slope, intercept = decimal(source, SLOPE), decimal(source, INTERCEPT)
    return Rescale() if slope is None or intercept is None else Rescale(slope, intercept)


def window_speaks_of_stored(dataset: Dataset, frame: int) -> bool:
    """Whether the file's own window is for stored values, though there is a transform."""
    return text(dataset, MODALITY) in ("MR", "PT") and macro(dataset, frame, PIXEL_TRANSFORMATION) is None
