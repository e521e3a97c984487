"""What the byte scanner does not read, read by pydicom: big endian, no preamble, odd VRs, damaged headers.

Guarantees: `ask_pydicom` gives the same raw values or raises LeftOutError. pydicom makes objects many times larger than
their bytes and takes seconds for a megabyte of the smallest ones, so it is given headers up to a limit only, with at
most `ITEMS_LIMIT` items of sequences.
"""

import io
import struct
import warnings
import zlib

from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import (
    DEFLATED,
    DOUBLE_PIXELS,
    FLOAT_PIXELS,
    IMPLICIT,
    PIXELS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Elements,
    Read,
)

#: Header bytes that pydicom may be given where the byte scanner gave up, and items of sequences in them.
UNUSUAL_LIMIT = 1 << 22
ITEMS_LIMIT = 1 << 17

_EXPLICIT = b"1.2.840.10008.1.2.1"
_SOP_CLASS, _DICOM_CLASS = 0x00080016, b"1.2.840.10008.5.1.4."
#: PS3.6, (7FE0,0008) to (7FE0,0010); UN: of what rewrote what it did not know
_PIXEL_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")

#: What pydicom raises on bytes that are not what they say; RecursionError: sequences nested without end; MemoryError: a
#: length of gigabytes that the file does not have.
MALFORMED = (
    InvalidDicomError, BytesLengthException, ArithmeticError, AttributeError, EOFError, LookupError, MemoryError,
    NotImplementedError, RecursionError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


def ask_pydicom(read: Read, size: int, wanted: frozenset[int]) -> Elements:
    """The `wanted` elements of an object of `size` bytes. Raises LeftOutError (not_dicom, unreadable, too_large)."""
    start = read(min(size, 1024), 0)
    if DEFLATED in start:  # elements.py reads these within a limit; pydicom would inflate whatever comes
        raise LeftOutError(Reason.UNREADABLE)
    if start[128:132] != b"DICM" and not _plausible(start):
        raise LeftOutError(Reason.NOT_DICOM)
    dataset, position = _header_dataset(read, size, UNUSUAL_LIMIT)
    try:
        implicit, little = dataset.original_encoding
        found = {
            tag: _raw(source.get_item(tag))
            for tag in wanted
            for source in (dataset.file_meta, dataset)
            if tag in source
        }
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None
    elements = _pixel_element(found, read(12, position), position, little is not False)
    if not found.get(TRANSFER_SYNTAX):
        found[TRANSFER_SYNTAX] = _syntax_of(found.get(_SOP_CLASS, b""), elements.length, bool(implicit), little)
    return elements


def _header_dataset(read: Read, size: int, limit: int) -> tuple[Dataset, int]:
    """The data set before the pixels, read from at most `limit` bytes, and where the pixel element starts.

    Raises LeftOutError (unreadable, too_large).
    """
    data = read(min(size, limit), 0)
    check_items(data)
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(file, stop_before_pixels=True, force=True)
    except MALFORMED:
        raise LeftOutError(Reason.TOO_LARGE if size > limit else Reason.UNREADABLE) from None
    if file.tell() >= limit < size:  # the end of what it was given, not of the header
        raise LeftOutError(Reason.TOO_LARGE)
    return dataset, file.tell()


def whole_dataset(data: bytes, limit: int) -> Dataset:
    """The object in the file `data`, by pydicom; a deflated one within `limit` bytes.

    Raises LeftOutError (unreadable, truncated, too_large). Its values are made when they are asked for: that may raise
    whatever is in MALFORMED.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            if DEFLATED in data[:1024]:
                return _inflated(data, limit)
            check_items(data)
            dataset = dcmread(io.BytesIO(data), force=True)
            _complete_meta(dataset)
            return dataset
    except (OSError, *MALFORMED):  # OSError: a sequence that ends before its items do
        raise LeftOutError(Reason.UNREADABLE) from None


def _inflated(data: bytes, limit: int) -> Dataset:
    """The object in the deflated file `data` (PS3.5 A.5).

    Raises LeftOutError: too_large instead of inflating beyond `limit` bytes, truncated, unreadable; and whatever of
    MALFORMED pydicom raises.
    """
    file = io.BytesIO(data)
    file.seek(132)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
    if data[128:132] != b"DICM" or meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        raise LeftOutError(Reason.UNREADABLE)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data[file.tell() :], limit)
    if inflater.unconsumed_tail:
        raise LeftOutError(Reason.TOO_LARGE)
    if not inflater.eof:
        raise LeftOutError(Reason.TRUNCATED)
    check_items(inflated)
    dataset = read_dataset(io.BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def check_items(data: bytes) -> None:
    """Raises LeftOutError(too_large) for more items than any object has: their tags (PS3.5 7.5), either byte order."""
    if data.count(b"\xfe\xff\x00\xe0") + data.count(b"\xff\xfe\xe0\x00") > ITEMS_LIMIT:
        raise LeftOutError(Reason.TOO_LARGE)


def _complete_meta(dataset: FileDataset) -> None:
    """Writes the transfer syntax that a file without a meta header must have into `dataset`, as the scan finds it."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    pixels = next((dataset.get_item(tag) for tag in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS) if tag in dataset), None)
    length = pixels.length if isinstance(pixels, RawDataElement) else 0
    implicit, little = dataset.original_encoding
    if syntax := _syntax_of(_raw(dataset.get_item(_SOP_CLASS)), length, bool(implicit), little):
        dataset.file_meta.TransferSyntaxUID = UID(syntax.decode())


def _syntax_of(sop_class: bytes, length: int, implicit: bool, little: bool | None) -> bytes:
    """The transfer syntax of an object that names none: one of the little endian ones if it says what it is and its
    pixels are native (PS3.5 A.1 and A.2), else b"". `length`: of the pixels."""
    if not sop_class.startswith(_DICOM_CLASS) or length == UNDEFINED or little is False:
        return b""
    return IMPLICIT if implicit else _EXPLICIT


def _raw(element: DataElement | RawDataElement | None) -> bytes:
    if isinstance(element, RawDataElement):
        return element.value or b""
    return b"" if element is None else plain(element.value).encode()


def _pixel_element(values: dict[int, bytes], head: bytes, position: int, little: bool) -> Elements:
    """`head`: the bytes from `position` on, where pydicom stopped: the start of the pixel element (PS3.5 7.1). It shows
    itself whether a VR stands in it, for meta headers err: as a length, which is even, a VR would be odd."""
    if len(head) < 12:
        return Elements(values, 0, -1, 0, little)
    mark = "<" if little else ">"
    group, element = struct.unpack_from(mark + "HH", head)
    tag = group << 16 | element
    if tag not in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS):
        return Elements(values, 0, -1, 0, little)
    at, start = (8, 12) if head[4:6] in _PIXEL_VRS else (4, 8)
    return Elements(values, tag, position + start, struct.unpack_from(mark + "I", head, at)[0], little)


def _plausible(start: bytes) -> bool:
    """No preamble, but the bytes begin like group 2 or 8, in either encoding, with a short first element."""
    if start[:4] == b"\x02\x00\x00\x00" and start[4:6] == b"UL":
        return True
    if start[:2] != b"\x08\x00" or len(start) < 12:
        return False
    if start[4:6].isalpha() and start[4:6].isupper():
        return int.from_bytes(start[6:8], "little") < 256
    return int.from_bytes(start[4:8], "little") < 256
