"""The decoders themselves: the bytes of one compressed frame → its pixel cells, by the library pinned in syntaxes.py.

Rules. A decoder gets nothing but a frame whose own header agrees with the object's (codestream.py), and gives what is
in it: samples as wide as their precision asks, colours as they were coded, except that JPEG 2000 undoes its own colour
transforms (PS3.5 8.2.4). Whatever is wrong with the bytes is an exception, or the death of the process (decoding.py).

12-bit JPEG (process 4) needs the optional, GPL-licensed pylibjpeg-libjpeg; without it its images are left out.
"""

import importlib
import importlib.util
import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import gdcm
import jpeg_ls
import numpy as np
import openjpeg.utils
import rle.utils
from PIL.JpegImagePlugin import JpegImageFile

from client.dicom.pixels.codestream import Codestream, described
from client.dicom.pixels.gpu import on_card
from client.dicom.pixels.layout import Layout
from client.dicom.pixels.native import Cells, native_frame, shaped
from client.dicom.reasons import LeftOutError, Reason

#: The marker at the end of a JPEG or JPEG-LS stream.
_EOI = b"\xff\xd9"


@dataclass(frozen=True)
class Decoded:
    """`cells`: [rows, columns] or [rows, columns, samples]; `code`: what the frame said of itself, None if nothing."""

    cells: Cells
    code: Codestream | None = None


def decode_frame(name: str, data: bytes, layout: Layout) -> Decoded:
    """The frame in `data` by the decoder called `name`, or by a graphics card that gives the same values. Raises what
    the libraries raise, and LeftOutError."""
    pinned, card = _BY_NAME[name], on_card(layout)
    if card is None:
        return pinned(data, layout)
    return Decoded(card.decode(data, layout, lambda: pinned(data, layout).cells), _checked(data, layout))


def _checked(data: bytes, layout: Layout) -> Codestream:
    code = described(data)
    if (code.rows, code.columns, code.components) != (layout.rows, layout.columns, layout.samples):
        raise ValueError("a codestream of the size that the header says")
    if not 1 <= code.precision <= 32:
        raise ValueError("a precision that decoders know")
    return code


def _container(bits: int, *, signed: bool) -> np.dtype[Any]:
    """The smallest type of whole numbers that holds `bits`."""
    return np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}")


def _zlib(data: bytes, layout: Layout) -> Decoded:
    """A deflated native frame (PS3.5 A.4.13); each starts at a byte, and inflates to what the header says."""
    size = (layout.pixels * layout.samples * layout.allocated + 7) // 8
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    if not size <= len(inflated) <= size + size % 2:
        raise ValueError("a frame of the size that the header says")
    return Decoded(native_frame(inflated, replace(layout, frames=1), 0))


def _rle(data: bytes, layout: Layout) -> Decoded:
    """RLE (PS3.5 G): colour by plane. Pixels of one bit are eight to a byte, each frame from a byte of its own."""
    rows, columns, bits = layout.rows, layout.columns, layout.allocated
    if bits == 1:
        rows, columns, bits = 1, (layout.pixels * layout.samples + 7) // 8, 8
    cells = rle.utils.decode_pixel_data(data, version=2, rows=rows, columns=columns, bits_allocated=bits)
    if layout.allocated == 1:
        return Decoded(native_frame(bytes(cells), replace(layout, frames=1), 0))
    return Decoded(shaped(np.frombuffer(cells, _container(bits, signed=layout.signed)), layout, planar=True))


def _charls(data: bytes, layout: Layout) -> Decoded:
    code = _checked(data, layout)
    if _EOI not in data[-4:]:  # CharLS looks for a marker beyond the end of a stream that was cut off
        data += _EOI
    cells, said = jpeg_ls.decode_pixel_data(data)
    dtype = _container(code.precision, signed=layout.signed)
    # interleave mode 0: colour by plane (ISO/IEC 14495-1 C.2.3)
    return Decoded(shaped(np.frombuffer(cells, dtype), layout, planar=said["interleave_mode"] == 0), code)


def _openjpeg(data: bytes, layout: Layout) -> Decoded:
    code = _checked(data, layout)
    cells = openjpeg.utils.decode_pixel_data(data, version=2)
    dtype = _container(code.precision, signed=layout.signed)
    return Decoded(shaped(np.frombuffer(cells, dtype), layout, planar=False), code)


def _pillow(data: bytes, layout: Layout) -> Decoded:
    """Lossy JPEG. Pillow gives what GDCM does, bit for bit, in a quarter of the time; but where the components may be
    something else than YCbCr, only GDCM leaves them as they are."""
    code = _checked(data, layout)
    if code.precision != 8:
        return Decoded(shaped(_libjpeg(data, layout), layout, planar=False), code)
    if code.adobe or layout.allocated != 8 or layout.signed or (layout.samples == 3 and code.ids != (1, 2, 3)):
        return _gdcm(data, layout)
    try:
        picture = JpegImageFile(io.BytesIO(data))
    except SyntaxError:
        raise ValueError("a JPEG that Pillow reads") from None
    if layout.samples == 3:
        picture.draft("YCbCr", picture.size)
    return Decoded(shaped(np.asarray(picture).ravel(), layout, planar=False), code)


def _gdcm(data: bytes, layout: Layout) -> Decoded:
    code = _checked(data, layout)
    cells = np.frombuffer(
        # GDCM hands over bytes as a str
        _gdcm_image(data, layout).GetBuffer().encode("utf-8", "surrogateescape"),
        _container(layout.allocated, signed=layout.signed),
    )
    return Decoded(shaped(cells, layout, planar=layout.planar), code)


def _gdcm_image(data: bytes, layout: Layout) -> Any:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(layout.photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if layout.samples > 1:
        image.SetPlanarConfiguration(int(layout.planar))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(layout.syntax)))
    image.SetPixelFormat(
        gdcm.PixelFormat(layout.samples, layout.allocated, layout.bits, layout.bits - 1, int(layout.signed))
    )
    return image


def has_libjpeg() -> bool:
    """Whether the optional decoder of 12-bit JPEG is installed."""
    return importlib.util.find_spec("_libjpeg") is not None


def _libjpeg(data: bytes, layout: Layout) -> Cells:
    if not has_libjpeg():
        raise LeftOutError(Reason.UNSUPPORTED_SYNTAX)
    library: ModuleType = importlib.import_module("libjpeg")
    cells = library.decode_pixel_data(data, version=2)
    return np.frombuffer(cells, _container(layout.allocated, signed=layout.signed))


_BY_NAME: Mapping[str, Callable[[bytes, Layout], Decoded]] = {
    "zlib": _zlib,
    "rle": _rle,
    "charls": _charls,
    "openjpeg": _openjpeg,
    "gdcm": _gdcm,
    "pillow": _pillow,
}
