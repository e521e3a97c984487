"""The elements of a data set, raw: where they start and end, and nothing else (PS3.5 section 7).

Guarantees: one pass, a few instructions for every element stepped over; sequences of undefined length are followed to
their end, down to `DEPTH_LIMIT`; the functional groups of an enhanced object become items whose elements are raw, too.
What is not the common case raises `UnusualError`: another VR, fragments in another place than the pixels. No more than
ELEMENTS_LIMIT elements, those in sequences counted, and ITEMS_LIMIT items are kept: each takes many times its bytes.

    >>> Walk(data, explicit=True, groups=frozenset((0x0028,))).elements(start, len(data))
    {(0028,0010): RawDataElement(...), ...}
"""

import struct

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import DEPTH_LIMIT, LONG, SHORT, UNDEFINED, EndedError, UnusualError

SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230

_ITEM, _ITEM_END, _SEQUENCE_END, _PIXELS = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD), (0x7FE0, 0x0010)
#: Of the frames of one object: a hundred for each of 10,000. As many cost half a gigabyte and some seconds.
ELEMENTS_LIMIT = 1 << 20
#: Functional groups of one object: more than rules.py admits frames.
ITEMS_LIMIT = 1 << 17
#: The tag of an item as it stands in the file, in either byte order
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
#: VR as it stands in the file → as text
NAMES = {vr: vr.decode() for vr in LONG | SHORT}

#: Head of an explicit element, of an implicit one or an item, and a long length; in little and in big endian
_ORDERS = {
    little: tuple(struct.Struct(order + head).unpack_from for head in ("HH2sH", "HHI", "I"))
    for little, order in ((True, "<"), (False, ">"))
}

Tag = tuple[int, int]
Raw = dict[BaseTag, DataElement | RawDataElement]


class Walk:
    """Steps through `data` in one encoding and keeps the elements of `groups`, or of an item all. Raises UnusualError,
    EndedError, LeftOutError (too_large)."""

    def __init__(self, data: bytes, *, explicit: bool, groups: frozenset[int], little: bool = True) -> None:
        self._data = data
        self._explicit = explicit
        self._groups = groups
        self._little = little
        self._head, self._item, self._long = _ORDERS[little]
        self._left = ELEMENTS_LIMIT

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
        data, groups, head = self._data, self._groups, self._head
        while position < end:
            group, element, vr, length = head(data, position)
            if vr in SHORT:
                start = position + 8
                position = stop = start + length
            elif vr in LONG:
                (length,) = self._long(data, position + 8)
                start = position + 12
                position, stop = self._behind((group, element), vr, start, length, end)
            else:
                raise UnusualError
            if group in groups:
                self._keep(into, (group, element), vr, (start, stop))
                if (group, element) == _PIXELS:
                    return
        if position != end:
            raise EndedError

    def _implicit_elements(self, position: int, end: int, into: Raw) -> None:
        data, groups = self._data, self._groups
        while position < end:
            group, element, length = self._item(data, position)
            start = position + 8
            position, stop = self._behind((group, element), b"SQ", start, length, end)
            if group in groups:
                self._keep(into, (group, element), b"", (start, stop))
                if (group, element) == _PIXELS:
                    return
        if position != end:
            raise EndedError

    def _behind(self, tag: Tag, vr: bytes, start: int, length: int, end: int) -> tuple[int, int]:
        """The position behind an element whose value starts at `start`, and that behind its value."""
        if length != UNDEFINED:
            return start + length, start + length
        if tag == _PIXELS:  # fragments, up to a delimitation that fragments.py looks for
            return end, end
        if vr != b"SQ":
            raise UnusualError
        after = self._after_sequence(start, 0)
        return after, after - 8

    def _keep(self, into: Raw, number: Tag, vr: bytes, where: tuple[int, int]) -> None:
        """An element whose value lies `where`; functional groups as items, everything else raw."""
        start, stop = where
        if stop > len(self._data):
            raise EndedError
        tag = BaseTag(number[0] << 16 | number[1])
        if tag in (SHARED_GROUPS, FRAME_GROUPS):
            into[tag] = DataElement(tag, "SQ", Sequence(self._items(start, stop)))
            return
        name = NAMES[vr] if self._explicit else None
        value = self._data[start:stop]
        self._left -= 1
        if value[:4] in _ITEMS and not number[0] % 2:
            self._count(start, stop, vr)
        if self._left < 0:
            raise LeftOutError(Reason.TOO_LARGE)
        into[tag] = RawDataElement(tag, name, len(value), value, start, not self._explicit, self._little)

    def _count(self, position: int, stop: int, vr: bytes) -> None:
        """The elements of a sequence that stays raw, at all depths: in implicit encodings what begins with an item is
        one. Those of unknown VR (UN), which are rare, count as the most that fit: their encoding is uncertain."""
        if vr not in (b"SQ", b""):
            self._left -= (stop - position) // 8 if vr == b"UN" else 0
            return
        data = self._data
        while position < stop and self._left >= 0:
            self._left -= 1
            group, _, length = self._item(data, position)
            position += 8
            if group == _ITEM[0]:
                continue
            if self._explicit:
                *_, vr, short = self._head(data, position - 8)
                if vr in LONG:
                    (length,) = self._long(data, position)
                    position += 4
                elif vr in SHORT:
                    length = short
                else:
                    raise UnusualError
                if vr == b"UN" and length != UNDEFINED:
                    self._left -= length // 8
            if length != UNDEFINED and (vr not in (b"SQ", b"") or data[position : position + 4] not in _ITEMS):
                position += length

    def _items(self, position: int, stop: int) -> list[Dataset]:
        """The items of a sequence (PS3.5 7.5), their elements raw."""
        items = []
        inside = Walk(self._data, explicit=self._explicit, groups=_Every(), little=self._little)
        while position + 8 <= stop:
            group, element, length = self._item(self._data, position)
            if (group, element) != _ITEM:
                raise UnusualError
            position += 8
            after = self._after_item(position, 0) if length == UNDEFINED else position + length
            item = Dataset(inside.elements(position, after - 8 if length == UNDEFINED else after))
            item.set_original_encoding(not self._explicit, self._little)
            items.append(item)
            if len(items) > ITEMS_LIMIT:
                raise LeftOutError(Reason.TOO_LARGE)
            position = after
        return items

    def _after_sequence(self, position: int, depth: int) -> int:
        """The position after a sequence of undefined length whose first item starts at `position`."""
        if depth > DEPTH_LIMIT:
            raise UnusualError
        while True:
            group, element, length = self._item(self._data, position)
            position += 8
            if (group, element) == _SEQUENCE_END:
                return position
            if (group, element) != _ITEM:
                raise UnusualError
            position = self._after_item(position, depth) if length == UNDEFINED else position + length

    def _after_item(self, position: int, depth: int) -> int:
        """The position after an item of undefined length whose first element starts at `position`."""
        while True:
            group, element, length = self._item(self._data, position)
            if (group, element) == _ITEM_END:
                return position + 8
            vr = b"SQ"
            if self._explicit:
                *_, vr, short = self._head(self._data, position)
                if vr in LONG:
                    (length,) = self._long(self._data, position + 8)
                    position += 4
                elif vr in SHORT:
                    length = short
                else:
                    raise UnusualError
            position += 8
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
