"""Stored values → brightness in [0, 1], one step of DICOM's greyscale pipeline per function (PS3.3 C.11, PS3.4 N.2).

Order, as DICOM.md §8: padding is found on stored values, then the modality transform, then the window, then polarity;
padding ends black whatever the polarity.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from shared.study import Input

Stored = NDArray[np.int32]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Images without a Modality LUT module whose windows speak of stored values: MR (PS3.3 A.4), and XA or RF stored
#: as log or display values (PS3.3 C.8.7.1.1.2).
_DISPLAY_VALUES = ("LOG", "DISP")


def brightness(dataset: Dataset, stored: Stored, padding: Mask, spec: Input) -> NDArray[np.float32]:
    """`stored` [rows, columns] as float32 in [0, 1], 0 where `padding`."""
    values = modality_values(dataset, stored)
    shown = windowed(dataset, values, padding, spec)
    if inverted(dataset):
        shown = 1 - shown
    shown[padding] = 0
    return shown.astype(np.float32)


def padding_mask(dataset: Dataset, stored: Stored, bits: int, signed: bool) -> Mask:
    """Where `stored` is Pixel Padding Value (0028,0120), or between it and the Range Limit (0028,0121), both
    included (PS3.3 C.7.5.1.1.2). The values may stand in the header with the wrong sign."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    last = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(end), bits, signed) for end in (first, first if last is None else last))
    return (stored >= ends[0]) & (stored <= ends[1])


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def modality_values(dataset: Dataset, stored: Stored) -> Values:
    """The modality LUT, or else rescale slope and intercept: never both (PS3.3 C.11.1)."""
    if lut := dataset.get("ModalityLUTSequence"):
        return looked_up(lut[0], stored)[0]
    log = str(dataset.get("PixelIntensityRelationship", "")) in _DISPLAY_VALUES
    if dataset.get("Modality") == "MR" or (log and dataset.get("Modality") in ("XA", "RF")):
        return stored.astype(np.float64)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return stored.astype(np.float64)
    return stored.astype(np.float64) * float(slope) + float(intercept)


def windowed(dataset: Dataset, values: Values, padding: Mask, spec: Input) -> Values:
    """`values` through the window that `spec` asks for, in [0, 1]; a file without one falls back to percentiles."""
    if isinstance(spec.window, tuple):
        return linear(values, *spec.window)
    if spec.window == "file":
        if lut := dataset.get("VOILUTSequence"):  # the first of several views (PS3.3 C.11.2.1.1)
            shown, top = looked_up(lut[0], np.rint(values).astype(np.int32))
            return shown / top
        centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
        if centre is not None and width is not None and width > 0:
            return _FUNCTIONS.get(str(dataset.get("VOILUTFunction") or "LINEAR"), linear)(values, centre, width)
    return between_percentiles(values, padding)


def linear(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.2.1: c - 0.5 and w - 1, because a window of width w shows w whole numbers."""
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def linear_exact(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.2."""
    return np.clip((values - centre) / width + 0.5, 0, 1)


def sigmoid(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.3.1."""
    shown: Values = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    return shown


_FUNCTIONS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


def between_percentiles(values: Values, padding: Mask) -> Values:
    """The 1st percentile of what is not padding becomes 0, the 99th 1."""
    seen = values[~padding]
    if not seen.size:
        return np.zeros_like(values)
    low, high = np.percentile(seen, (1, 99))
    if high <= low:
        return np.zeros_like(values)
    shown: Values = np.clip((values - low) / (high - low), 0, 1)
    return shown


def inverted(dataset: Dataset) -> bool:
    """Whether low values are to be shown bright: MONOCHROME1, which DX says a second time as Presentation LUT
    Shape INVERSE (PS3.3 C.7.6.3.1.2, C.8.11.3.1.2, C.11.6)."""
    return "MONOCHROME1" in dataset.PhotometricInterpretation or "INVERSE" in dataset.get("PresentationLUTShape", "")


def looked_up(item: Dataset, stored: Stored) -> tuple[Values, int]:
    """`stored` through the LUT of a sequence's `item` (PS3.3 C.11.1.1), and the LUT's largest possible value."""
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    # OW: little-endian words; US: pydicom has made numbers of them
    table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(np.asarray(data))
    if bits <= 8 and len(table) * 2 == (entries or 1 << 16):  # two 8-bit entries per word
        table = np.frombuffer(table.astype("<u2").tobytes(), np.uint8)
    index = np.clip(stored - first, 0, min(entries or 1 << 16, len(table)) - 1)
    return table[index].astype(np.float64), (1 << bits) - 1


def _first(value: Any) -> float | None:
    """The first of one or several decimal strings."""
    if value is None or value == "":
        return None
    several = value if isinstance(value, MultiValue) else [value]
    return float(several[0]) if several else None
