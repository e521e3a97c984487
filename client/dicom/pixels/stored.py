"""A frame's stored values: what the scanner wrote, whatever the encoding (PS3.5 8.1.1 and 8.2).

Guarantees: the bits from High Bit down, sign extended; overlays that live in the other bits (60xx,0102) and rubbish
fall away. Colours are RGB, or the values of a palette. Nothing but LeftOutError is raised for what cannot be decoded.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from client.dicom.pixels.decoders import Decoded, decode_frame
from client.dicom.pixels.fragments import frame_of
from client.dicom.pixels.layout import COLOUR, Layout, layout_of
from client.dicom.pixels.native import Cells, native_frame
from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.pixels.ybr import rgb_of
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import PIXELS
from client.dicom.scanning.unusual import MALFORMED

_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002
_RGB_IDS = (tuple(b"RGB"), tuple(b"rgb"))


@dataclass(frozen=True)
class Stored:
    """`values`: integers or floats, [rows, columns], or [rows, columns, 3] where `photometric` is RGB."""

    values: Cells
    photometric: str
    layout: Layout


def stored_frame(dataset: Dataset, frame: int) -> Stored:
    """Frame `frame`, from 0, of `dataset`. Raises LeftOutError."""
    try:
        # what pydicom and the decoders warn of is either harmless here or ends in an exception
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _stored_frame(dataset, frame)
    except (OSError, *MALFORMED):
        raise LeftOutError(Reason.DECODE_FAILED) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the RLE decoder, which is Rust; it is no Exception
            raise
        raise LeftOutError(Reason.DECODE_FAILED) from None


def _stored_frame(dataset: Dataset, frame: int) -> Stored:
    layout = layout_of(dataset)
    if not 0 <= frame < layout.frames:
        raise LeftOutError(Reason.DECODE_FAILED)
    element = dataset.get_item(layout.element)
    data = _bytes(element)
    decoder = DECODERS[layout.syntax]
    if decoder:
        frame_data = frame_of(data, layout.frames, frame, _extended(dataset))
        decoded = decode_frame(decoder, frame_data, layout)
    else:
        decoded = Decoded(native_frame(data, layout, frame, words=element is None or element.VR != "OB"))
    if layout.element != PIXELS:
        return Stored(decoded.cells, layout.photometric, layout)
    values = _values(decoded, layout)
    photometric = _photometric(decoded, layout)
    if photometric in COLOUR:
        return Stored(values if photometric == "RGB" else rgb_of(values.astype(np.uint8)), "RGB", layout)
    return Stored(values, photometric, layout)


def _bytes(element: DataElement | RawDataElement | None) -> bytes:
    value = None if element is None else element.value
    if not isinstance(value, bytes | bytearray):
        raise LeftOutError(Reason.NO_PIXELS)
    return bytes(value) if isinstance(value, bytearray) else value


def _extended(dataset: Dataset) -> tuple[bytes, bytes] | None:
    if _OFFSETS not in dataset or _LENGTHS not in dataset:
        return None
    return _bytes(dataset.get_item(_OFFSETS)), _bytes(dataset.get_item(_LENGTHS))


def _values(decoded: Decoded, layout: Layout) -> Cells:
    """Pixel cells → stored values. Codestreams of the JPEG family hold nothing but the values; where they say another
    sign than the header, the header is right (PS3.5 8.2.4)."""
    cells, code = decoded.cells, decoded.code
    if DECODERS[layout.syntax] in ("", "rle", "zlib"):
        low = max(layout.high + 1 - layout.bits, 0)
        return _field(cells, low, layout.bits) if layout.allocated > 1 else cells
    if code is None or DECODERS[layout.syntax] in ("gdcm", "pillow"):
        return cells
    wrong = layout.signed if DECODERS[layout.syntax] == "charls" else code.signed != layout.signed
    return _field(cells, 0, code.precision) if wrong else cells


def _field(cells: Cells, low: int, bits: int) -> Cells:
    """The `bits` bits from bit `low` of integer `cells`, with sign where the type has one."""
    width = 8 * cells.dtype.itemsize
    above = max(width - low - bits, 0)
    if not low and not above:
        return cells
    whole: NDArray[np.integer] = cells.astype(cells.dtype)
    whole <<= above
    whole >>= above + low
    return whole


def _photometric(decoded: Decoded, layout: Layout) -> str:
    """The photometric interpretation of the decoded values; a JPEG may know better than the header does."""
    name, code = layout.photometric, decoded.code
    if name in ("YBR_RCT", "YBR_ICT"):
        if DECODERS[layout.syntax] != "openjpeg":
            raise LeftOutError(Reason.UNSUPPORTED_PIXELS)
        return "RGB"
    if code is None or layout.samples != 3 or DECODERS[layout.syntax] == "openjpeg":
        return name
    if code.ids in _RGB_IDS:
        return "RGB"
    return "YBR_FULL" if code.jfif and not name.startswith("YBR") else name
