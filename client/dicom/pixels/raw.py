"""The elements of a data set, raw: where they start and end, and nothing else (PS3.5 section 7).

Guarantees: one pass, a few instructions for every element stepped over; sequences of undefined length are followed to
their end, down to `_DEPTH_LIMIT`; the functional groups of an enhanced object become items whose elements are raw, too.
What is not the common case raises `UnusualError`: another VR, fragments in another place than the pixels.

    >>> Walk(data, explicit=True, groups=frozenset((0x0028,))).elements(start, len(data))
    {(0028,0010): RawDataElement(...), ...}
"""

import struct

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from client.dicom.scanning.elements import UNDEFINED, EndedError, UnusualError

SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230

# A tag is read as one little-endian number, so its halves stand the other way round: one step less per element.
_ITEM, _ITEM_END, _SEQUENCE_END, _PIXELS = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE, 0x00107FE0
#: VRs with two reserved bytes and a 32-bit length (PS3.5 table 7.1-1); the others have a 16-bit length
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset(
    (
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO",
        b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    )
)  # fmt: skip
_DEPTH_LIMIT = 32
#: VR as it stands in the file → as text
NAMES = {vr: vr.decode() for vr in _LONG | _SHORT}

_explicit = struct.Struct("<I2sH").unpack_from
_implicit = struct.Struct("<II").unpack_from
_long = struct.Struct("<I").unpack_from

Raw = dict[BaseTag, DataElement | RawDataElement]


class Walk:
    """Steps through `data` in one encoding and keeps the elements of `groups`, or of an item all. Raises UnusualError,
    EndedError."""

    def __init__(self, data: bytes, *, explicit: bool, groups: frozenset[int]) -> None:
        self._data = data
        self._explicit = explicit
        self._groups = groups

    def elements(self, position: int, end: int) -> Raw:
        """The elements from `position` to `end`, or to the pixel data."""
        into: Raw = {}
        try:
            (self._explicit_elements if self._explicit else self._implicit_elements)(position, end, into)
        except struct.error:  # an element that would start at or beyond the end
            raise EndedError from None
        return into

    def _explicit_elements(self, position: int, end: int, into: Raw) -> None:
        """The hot loop: most elements are stepped over in a few instructions."""
        data, groups = self._data, self._groups
        while position < end:
            swapped, vr, length = _explicit(data, position)
            if vr in _SHORT:
                start = position + 8
                position = stop = start + length
            elif vr in _LONG:
                (length,) = _long(data, position + 8)
                start = position + 12
                position, stop = self._behind(swapped, vr, start, length, end)
            else:
                raise UnusualError
            if swapped & 0xFFFF in groups:
                self._keep(into, swapped, vr, (start, stop))
                if swapped == _PIXELS:
                    return
        if position != end:
            raise EndedError

    def _implicit_elements(self, position: int, end: int, into: Raw) -> None:
        data, groups = self._data, self._groups
        while position < end:
            swapped, length = _implicit(data, position)
            start = position + 8
            position, stop = self._behind(swapped, b"SQ", start, length, end)
            if swapped & 0xFFFF in groups:
                self._keep(into, swapped, b"", (start, stop))
                if swapped == _PIXELS:
                    return
        if position != end:
            raise EndedError

    def _behind(self, swapped: int, vr: bytes, start: int, length: int, end: int) -> tuple[int, int]:
        """The position behind an element whose value starts at `start`, and that behind its value."""
        if length != UNDEFINED:
            return start + length, start + length
        if swapped == _PIXELS:  # fragments, up to a delimitation that fragments.py looks for
            return end, end
        if vr != b"SQ":
            raise UnusualError
        after = self._after_sequence(start, 0)
        return after, after - 8

    def _keep(self, into: Raw, swapped: int, vr: bytes, where: tuple[int, int]) -> None:
        """An element whose value lies `where`; functional groups as items, everything else raw."""
        start, stop = where
        if stop > len(self._data):
            raise EndedError
        tag = BaseTag((swapped & 0xFFFF) << 16 | swapped >> 16)
        if tag in (SHARED_GROUPS, FRAME_GROUPS):
            into[tag] = DataElement(tag, "SQ", Sequence(self._items(start, stop)))
            return
        name = NAMES[vr] if self._explicit else None
        value = self._data[start:stop]
        into[tag] = RawDataElement(tag, name, len(value), value, start, not self._explicit, True)

    def _items(self, position: int, stop: int) -> list[Dataset]:
        """The items of a sequence (PS3.5 7.5), their elements raw."""
        items = []
        inside = Walk(self._data, explicit=self._explicit, groups=_Every())
        while position + 8 <= stop:
            swapped, length = _implicit(self._data, position)
            if swapped != _ITEM:
                raise UnusualError
            position += 8
            after = self._after_item(position, 0) if length == UNDEFINED else position + length
            item = Dataset(inside.elements(position, after - 8 if length == UNDEFINED else after))
            item.set_original_encoding(not self._explicit, True, None)
            items.append(item)
            position = after
        return items

    def _after_sequence(self, position: int, depth: int) -> int:
        """The position after a sequence of undefined length whose first item starts at `position`."""
        if depth > _DEPTH_LIMIT:
            raise UnusualError
        while True:
            swapped, length = _implicit(self._data, position)
            position += 8
            if swapped == _SEQUENCE_END:
                return position
            if swapped != _ITEM:
                raise UnusualError
            position = self._after_item(position, depth) if length == UNDEFINED else position + length

    def _after_item(self, position: int, depth: int) -> int:
        """The position after an item of undefined length whose first element starts at `position`."""
        while True:
            swapped, length = _implicit(self._data, position)
            position += 8
            if swapped == _ITEM_END:
                return position
            vr = b"SQ"
            if self._explicit:
                vr = self._data[position - 4 : position - 2]
                if vr in _LONG:
                    (length,) = _long(self._data, position)
                    position += 4
                elif vr in _SHORT:
                    length >>= 16
                else:
                    raise UnusualError
            if length != UNDEFINED:
                position += length
            elif vr == b"SQ":
                position = self._after_sequence(position, depth + 1)
            else:
                raise UnusualError


class _Every(frozenset[int]):
    """The set of all groups."""

    def __contains__(self, group: object) -> bool:
        return True
