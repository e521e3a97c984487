"""The raw values of a few data elements, straight from the bytes of a DICOM file (PS3.5 and PS3.10, section 7).

Guarantees: reads explicit and implicit little endian with a preamble, and deflated files up to `INFLATED_LIMIT`
(more is refused, so a bomb cannot fill the memory). Anything unusual (big endian, no preamble, a VR it does not
know) raises `UnusualError`: the caller then asks pydicom, which is slower and knows more. Values are not interpreted.

    >>> scan_file(data, frozenset((0x00080060,))).values[0x00080060]
    b'CT'
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from client.dicom.reasons import LeftOutError, Reason

#: read(length, offset) → bytes, fewer at the end; of a file or of a member of a zip
Read = Callable[[int, int], bytes]

#: The first read: most headers end within it.
FIRST_READ = 1 << 14
HEADER_LIMIT = 1 << 26
INFLATED_LIMIT = 1 << 28
#: Of the pixels of one object: sixteen for each frame that rules.py admits.
FRAGMENTS_LIMIT = 1 << 20

DEFLATED = b"1.2.840.10008.1.2.1.99"
IMPLICIT = b"1.2.840.10008.1.2"
BIG_ENDIAN = b"1.2.840.10008.1.2.2"

TRANSFER_SYNTAX = 0x00020010
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
UNDEFINED = 0xFFFFFFFF

#: VRs with two reserved bytes and a 32-bit length (PS3.5 table 7.1-1); the others have a 16-bit length
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT = frozenset((
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
))  # fmt: skip
DEPTH_LIMIT = 32

# A tag is read as one little-endian number, so its halves stand the other way round: one step less per element.
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE
_explicit = struct.Struct("<I2sH").unpack_from
_implicit = struct.Struct("<II").unpack_from
_long = struct.Struct("<I").unpack_from


class UnusualError(Exception):
    """These bytes need a reader that knows more than the common case."""


class EndedError(Exception):
    """The bytes end in the middle of a value: read more, or the file is truncated. `values`: the wanted elements that
    stand whole before that; `reason`: too_large where there are more bytes, but nobody reads on."""

    def __init__(self, values: Mapping[int, bytes] | None = None, reason: Reason = Reason.TRUNCATED) -> None:
        super().__init__(reason.value)
        self.values = dict(values or {})
        self.reason = reason


@dataclass(frozen=True)
class Elements:
    """`values`: tag → raw bytes of the wanted elements that are there. `pixels`: the tag of the pixel data, 0 if
    none; its value starts at `offset` in the file (-1: deflated) and has `length` bytes (UNDEFINED: fragments)."""

    values: dict[int, bytes]
    pixels: int
    offset: int
    length: int
    little_endian: bool = True


def read_elements(read: Read, size: int, wanted: frozenset[int]) -> Elements:
    """The `wanted` elements of an object of `size` bytes.

    Raises UnusualError, EndedError (truncated, or too_large for an endless header), OSError (of `read`), and
    LeftOutError for deflated data as `inflate` does.
    """
    data = read(min(size, FIRST_READ), 0)
    if data[128:132] != b"DICM":
        raise UnusualError
    while True:
        try:
            return scan_file(data, wanted)
        except EndedError as ended:
            if len(data) >= size:
                raise
            if len(data) >= HEADER_LIMIT:
                raise EndedError(ended.values, Reason.TOO_LARGE) from None
            more = read(min(size, len(data) * 8, HEADER_LIMIT) - len(data), len(data))
            if not more:
                raise
        data += more


def scan_file(data: bytes, wanted: frozenset[int]) -> Elements:
    """As `read_elements`, from the beginning of a file, preamble included."""
    # PS3.10 7.1: group 2 is explicit little endian whatever follows; its first element tells its length
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00" or len(data) < 144:
        raise UnusualError
    start = 144 + _long(data, 140)[0]
    if start > len(data):
        raise EndedError
    meta = _scan(data[:start], 144, explicit=True, wanted=wanted | {TRANSFER_SYNTAX}).values
    syntax = meta.get(TRANSFER_SYNTAX, b"").rstrip(b"\0 ")
    if syntax == BIG_ENDIAN or not syntax:
        raise UnusualError
    if syntax == DEFLATED:
        found = _scan(inflate(data[start:]), 0, explicit=True, wanted=wanted)
        return Elements(meta | found.values, found.pixels, -1, found.length)
    explicit = syntax != IMPLICIT
    if (data[start + 4 : start + 6] in LONG | SHORT) != explicit and len(data) > start:
        raise UnusualError  # the meta header and the data disagree
    found = _scan(data, start, explicit=explicit, wanted=wanted)
    return Elements(meta | found.values, found.pixels, found.offset, found.length)


def is_complete(read: Read, found: Elements, size: int) -> bool:
    """Whether the pixel data ends within the file; fragments (PS3.5 A.4) are stepped over, not read.

    Raises EndedError(too_large) for more fragments than any object has.
    """
    if not found.pixels or found.offset < 0:
        return True
    if found.length != UNDEFINED:
        return found.offset + found.length <= size
    position = found.offset
    for _ in range(FRAGMENTS_LIMIT):
        if position + 8 > size:
            return False
        group, element, length = struct.unpack("<HHI", read(8, position).ljust(8, b"\0"))
        if (group, element) == (0xFFFE, 0xE0DD):  # sequence delimitation item
            return True
        if (group, element) != (0xFFFE, 0xE000):
            return False
        position += 8 + length
    raise EndedError(found.values, Reason.TOO_LARGE)


def inflate(data: bytes) -> bytes:
    """A deflated data set (PS3.5 A.5). Raises LeftOutError for a bomb, EndedError if there is more to come."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, INFLATED_LIMIT)
    except zlib.error:
        raise LeftOutError(Reason.UNREADABLE) from None
    if inflater.unconsumed_tail:
        raise LeftOutError(Reason.TOO_LARGE)
    if not inflater.eof:
        raise EndedError
    return inflated


@lru_cache(maxsize=8)
def _swapped(wanted: frozenset[int]) -> Mapping[int, int]:
    """Tag as it is read → tag, of `wanted` and the pixels."""
    return {(tag & 0xFFFF) << 16 | tag >> 16: tag for tag in wanted | {PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS}}


def _scan(data: bytes, position: int, *, explicit: bool, wanted: frozenset[int]) -> Elements:
    """Elements of one data set, until its pixels or the end of `data`, which must fall between elements."""
    values: dict[int, bytes] = {}
    step = _explicit_elements if explicit else _implicit_elements
    try:
        return step(data, position, _swapped(wanted), values)
    except (struct.error, EndedError):  # the next element would start at or beyond the end
        raise EndedError(values) from None


def _explicit_elements(data: bytes, position: int, names: Mapping[int, int], values: dict[int, bytes]) -> Elements:
    """The hot loop: every bound it does not check is checked by `struct` on the next element."""
    end = len(data)
    while position != end:
        swapped, vr, length = _explicit(data, position)
        if vr in SHORT:
            start = position + 8
            position = start + length
        elif vr in LONG:
            (length,) = _long(data, position + 8)
            start = position + 12
            position = start + length
            if length == UNDEFINED and names.get(swapped, 0) < FLOAT_PIXELS:
                if vr != b"SQ":
                    raise UnusualError
                position = _skip_sequence(data, start, True, 0)
        else:
            raise UnusualError
        if swapped in names:
            tag = names[swapped]
            if tag >= FLOAT_PIXELS:
                return Elements(values, tag, start, length)
            if position > end:  # no half of a UID
                raise EndedError
            values[tag] = data[start:position]
    return Elements(values, 0, -1, 0)


def _implicit_elements(data: bytes, position: int, names: Mapping[int, int], values: dict[int, bytes]) -> Elements:
    """As `_explicit_elements`; what is of undefined length can only be a sequence (PS3.5 7.1.3)."""
    end = len(data)
    while position != end:
        swapped, length = _implicit(data, position)
        start = position + 8
        position = start + length
        if swapped in names and names[swapped] >= FLOAT_PIXELS:
            return Elements(values, names[swapped], start, length)
        if length == UNDEFINED:
            position = _skip_sequence(data, start, False, 0)
        if swapped in names:
            if position > end:
                raise EndedError
            values[names[swapped]] = data[start:position]
    return Elements(values, 0, -1, 0)


def _skip_sequence(data: bytes, position: int, explicit: bool, depth: int) -> int:
    """The position after a sequence of undefined length whose first item starts at `position` (PS3.5 7.5)."""
    if depth > DEPTH_LIMIT:
        raise UnusualError
    while True:
        swapped, length = _implicit(data, position)
        position += 8
        if swapped == _SEQUENCE_END:
            return position
        if swapped != _ITEM:
            raise UnusualError
        position = _skip_item(data, position, explicit, depth) if length == UNDEFINED else position + length


def _skip_item(data: bytes, position: int, explicit: bool, depth: int) -> int:
    """The position after an item of undefined length whose first element starts at `position`."""
    while True:
        swapped, length = _implicit(data, position)
        if swapped == _ITEM_END:
            return position + 8
        vr = b"SQ"
        position += 8
        if explicit:
            vr, short = data[position - 4 : position - 2], length >> 16
            if vr in LONG:
                (length,) = _long(data, position)
                position += 4
            elif vr in SHORT:
                length = short
            else:
                raise UnusualError
        if length == UNDEFINED:
            if vr != b"SQ":
                raise UnusualError
            position = _skip_sequence(data, position, explicit, depth + 1)
        else:
            position += length
