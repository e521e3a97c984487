"""The raw values of a few data elements, straight from the bytes of a DICOM file (PS3.5 and PS3.10, section 7).

Guarantees: reads explicit and implicit little endian with a preamble, and deflated files up to `INFLATED_LIMIT`
(more is refused, so a bomb cannot fill the memory). Anything unusual (big endian, no preamble, a VR it does not
know) raises `UnusualError`: the caller then asks pydicom, which is slower and knows more.
"""

import os
import struct
import zlib
from dataclasses import dataclass

from client.dicom.reasons import LeftOutError, Reason

#: The first read: most headers end within it.
FIRST_READ = 1 << 14
HEADER_LIMIT = 1 << 26
INFLATED_LIMIT = 1 << 28

DEFLATED = b"1.2.840.10008.1.2.1.99"
IMPLICIT = b"1.2.840.10008.1.2"
BIG_ENDIAN = b"1.2.840.10008.1.2.2"

TRANSFER_SYNTAX = 0x00020010
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
UNDEFINED = 0xFFFFFFFF

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
#: VRs with two reserved bytes and a 32-bit length (PS3.5 table 7.1-1); the others have a 16-bit length
_LONG = frozenset(vr.encode() for vr in ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
_SHORT = frozenset(
    vr.encode()
    for vr in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
)
_DEPTH_LIMIT = 32

_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHI").unpack_from
_long = struct.Struct("<I").unpack_from


class UnusualError(Exception):
    """These bytes need a reader that knows more than the common case."""


class EndedError(Exception):
    """The bytes end in the middle of a value: read more, or the file is truncated."""


@dataclass(frozen=True)
class Elements:
    """`values`: tag → raw bytes of the wanted elements that are there. `pixels`: the tag of the pixel data, 0 if
    none; its value starts at `offset` in the file (-1: deflated) and has `length` bytes (UNDEFINED: fragments)."""

    values: dict[int, bytes]
    pixels: int
    offset: int
    length: int
    little_endian: bool = True


def read_elements(descriptor: int, size: int, wanted: frozenset[int]) -> Elements:
    """The `wanted` elements of an open file of `size` bytes. Raises UnusualError, EndedError or OSError."""
    data = os.pread(descriptor, min(size, FIRST_READ), 0)
    if data[128:132] != b"DICM":
        raise UnusualError
    while True:
        try:
            return scan_file(data, wanted)
        except EndedError:
            if len(data) >= min(size, HEADER_LIMIT):
                raise
        more = os.pread(descriptor, min(size, len(data) * 8, HEADER_LIMIT) - len(data), len(data))
        if not more:
            raise EndedError
        data += more


def scan_file(data: bytes, wanted: frozenset[int]) -> Elements:
    """As `read_elements`, from the beginning of a file, preamble included."""
    # PS3.10 7.1: group 2 is explicit little endian whatever follows; its first element tells its length
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00" or len(data) < 144:
        raise UnusualError
    start = 144 + _long(data, 140)[0]
    if start > len(data):
        raise EndedError
    meta = _scan(data, 144, start, explicit=True, wanted=wanted | {TRANSFER_SYNTAX}).values
    syntax = meta.get(TRANSFER_SYNTAX, b"").rstrip(b"\0 ")
    if syntax == BIG_ENDIAN or not syntax:
        raise UnusualError
    if syntax == DEFLATED:
        found = _scan(inflate(data[start:]), 0, None, explicit=True, wanted=wanted)
        return Elements(meta | found.values, found.pixels, -1, found.length)
    explicit = syntax != IMPLICIT
    if (data[start + 4 : start + 6] in _LONG | _SHORT) != explicit and len(data) > start:
        raise UnusualError  # the meta header and the data disagree
    found = _scan(data, start, None, explicit=explicit, wanted=wanted)
    return Elements(meta | found.values, found.pixels, found.offset, found.length)


def inflate(data: bytes) -> bytes:
    """A deflated data set (PS3.5 A.5). Raises LeftOutError for a bomb, EndedError if there is more to come."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, INFLATED_LIMIT)
    except zlib.error:
        raise LeftOutError(Reason.UNREADABLE) from None
    if inflater.unconsumed_tail:
        raise LeftOutError(Reason.UNREADABLE)
    if not inflater.eof:
        raise EndedError
    return inflated


def _scan(data: bytes, position: int, end: int | None, *, explicit: bool, wanted: frozenset[int]) -> Elements:
    """Elements of one data set, until its pixels, `end`, or the end of `data` (which must fall between elements)."""
    values: dict[int, bytes] = {}
    last = len(data) if end is None else end
    while position + 8 <= last:
        if explicit:
            group, element, vr, length = _explicit(data, position)
            position += 8
            if vr in _LONG:
                if position + 4 > last:
                    raise EndedError
                length = _long(data, position)[0]
                position += 4
            elif vr not in _SHORT:
                raise UnusualError
        else:
            group, element, length = _implicit(data, position)
            vr = b"SQ"
            position += 8
        tag = group << 16 | element
        if group == 0x7FE0 and tag in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS):
            return Elements(values, tag, position, length)
        if length == UNDEFINED:
            if vr != b"SQ":
                raise UnusualError
            position = _skip_sequence(data, position, explicit, 0)
            continue
        if position + length > last:
            raise EndedError
        if tag in wanted:
            values[tag] = data[position : position + length]
        position += length
    if position != last:
        raise EndedError
    return Elements(values, 0, -1, 0)


def _skip_sequence(data: bytes, position: int, explicit: bool, depth: int) -> int:
    """The position after a sequence of undefined length whose first item starts at `position` (PS3.5 7.5)."""
    if depth > _DEPTH_LIMIT:
        raise UnusualError
    while True:
        if position + 8 > len(data):
            raise EndedError
        group, element, length = _implicit(data, position)
        position += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise UnusualError
        position = _skip_item(data, position, explicit, depth) if length == UNDEFINED else position + length


def _skip_item(data: bytes, position: int, explicit: bool, depth: int) -> int:
    """The position after an item of undefined length whose first element starts at `position`."""
    while True:
        if position + 8 > len(data):
            raise EndedError
        group, element, length = _implicit(data, position)
        tag = group << 16 | element
        if tag == _ITEM_END:
            return position + 8
        vr = b"SQ"
        position += 8
        if explicit:
            vr, short = data[position - 4 : position - 2], length >> 16
            if vr in _LONG:
                if position + 4 > len(data):
                    raise EndedError
                length = _long(data, position)[0]
                position += 4
            elif vr in _SHORT:
                length = short
            else:
                raise UnusualError
        if length == UNDEFINED:
            if vr != b"SQ":
                raise UnusualError
            position = _skip_sequence(data, position, explicit, depth + 1)
        else:
            position += length
