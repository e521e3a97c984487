"""One DICOM image → the canonical tensor of the study, `canonical/v1` (DICOM.md §8).

Guarantees: the same object gives the same float32 values at every hospital, whatever else is installed there (decoders
are pinned in syntaxes.py); bright means bright, whatever the scanner's polarity; nothing but LeftOutError is raised
for an image that cannot be used.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID, ExplicitVRBigEndian, RLELossless

from client.dicom.pixels.intensity import Stored, brightness, padding_mask
from client.dicom.pixels.resample import resample
from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.header import MALFORMED
from shared.study import Input

#: Red, green and blue in luma (ITU-R BT.601, as JPEG and DICOM's YBR, PS3.3 C.7.6.3.1.2).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

#: `stored_values` finds the bits: pydicom would ignore High Bit, and padding may stand outside Bits Stored.
_AS_STORED: dict[str, Any] = {"correct_unused_bits": False}

#: Distances of rows\columns, or their ratio, most trustworthy first (PS3.3 10.7.1.1, C.7.6.3.1.7).
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


def read_image(path: Path, spec: Input) -> NDArray[np.float32]:
    """The image of the file at `path` as `canonical_image` gives it. Raises LeftOutError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, force=True)
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.UNREADABLE) from None
    return canonical_image(dataset, spec)


def canonical_image(dataset: Dataset, spec: Input) -> NDArray[np.float32]:
    """The single-frame image in `dataset`: float32 [1 or 3, *spec.size] in [0, 1]. Raises LeftOutError."""
    try:
        # what pydicom warns of is either harmless here or ends in an exception
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array, photometric = _decode(dataset)
            channels = _channels(dataset, array, photometric, spec)
            return resample(channels, spec.size, _spacing(dataset))
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.DECODE_FAILED) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the RLE decoder, which is Rust; it is no Exception
            raise
        raise LeftOutError(Reason.DECODE_FAILED) from None


def _decode(dataset: Dataset) -> tuple[NDArray[np.generic], str]:
    """The decoded frame, [rows, columns] or [rows, columns, 3], and its photometric interpretation by now."""
    syntax = UID(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in DECODERS:
        raise LeftOutError(Reason.UNSUPPORTED_SYNTAX)
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise LeftOutError(Reason.MULTI_FRAME)
    if "PixelData" not in dataset:
        raise LeftOutError(Reason.NO_PIXELS)
    decoder = get_decoder(syntax)
    array, properties = decoder.as_array(dataset, index=0, decoding_plugin=DECODERS[syntax], **_AS_STORED)
    photometric = str(properties["photometric_interpretation"])
    # the JPEG 2000 decoder undoes its own colour transforms (PS3.5 8.2.4)
    return array, "RGB" if photometric in ("YBR_RCT", "YBR_ICT") else photometric


def _channels(dataset: Dataset, array: NDArray[np.generic], photometric: str, spec: Input) -> NDArray[np.float32]:
    """[rows, columns(, 3)] → float32 [1 or 3, rows, columns] in [0, 1], as many as `spec.color` says."""
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        signed = bool(dataset.PixelRepresentation)
        padding = padding_mask(dataset, array.astype(np.int64), int(dataset.BitsAllocated), signed)
        grey = brightness(dataset, stored_values(dataset, array), padding, spec)
        return np.repeat(grey[None], 3 if spec.color else 1, axis=0)
    if photometric == "PALETTE COLOR":
        rgb = _palette(dataset, stored_values(dataset, array))
    elif photometric == "RGB" and array.ndim == 3:
        rgb = array.astype(np.float32) / np.float32((1 << int(dataset.BitsStored)) - 1)
    else:
        raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
    if not spec.color:
        red, green, blue = (rgb[..., channel] * LUMA[channel] for channel in range(3))
        return np.asarray(red + green + blue, dtype=np.float32)[None]
    # [rows, columns, 3] -> [3, rows, columns]
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def stored_values(dataset: Dataset, array: NDArray[np.generic]) -> Stored:
    """Pixel cells → stored values: the bits from High Bit down, sign extended (PS3.5 8.1.1); overlays that live in
    the other bits (60xx,0102) fall away. Codestreams of the JPEG family hold nothing but the values."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    values = array.astype(np.int64)
    if not syntax.is_compressed or syntax == RLELossless:
        bits, low = int(dataset.BitsStored), int(dataset.HighBit) + 1 - int(dataset.BitsStored)
        values = (values >> max(low, 0)) & ((1 << bits) - 1)
        if dataset.PixelRepresentation:
            values -= (values >> (bits - 1)) << bits
    return np.clip(values, -(2**31), 2**31 - 1).astype(np.int32)


def _palette(dataset: Dataset, stored: Stored) -> NDArray[np.float32]:
    """[rows, columns] → [rows, columns, 3] by the palette (PS3.3 C.7.6.3.1.5), segmented ones included."""
    entries, first = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor[:2])
    count = entries or 1 << 16
    table = apply_color_lut(np.arange(first, first + count, dtype=np.int32), dataset)[:, :3]
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        table = table.byteswap()  # pydicom leaves the words of the table as they stand in the file
    index = np.clip(stored - first, 0, count - 1)
    return table[index].astype(np.float32) / np.float32(np.iinfo(table.dtype).max)


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """Distance of rows and of columns, in mm or in one another; equal where the header gives nothing usable."""
    for keyword in _SPACINGS:
        value = dataset.get(keyword)
        if value is not None and len(value) == 2:
            row, column = (float(part) for part in value)
            if row > 0 and column > 0 and 0.1 <= row / column <= 10:
                return row, column
    return 1.0, 1.0
