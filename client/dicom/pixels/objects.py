"""The bytes of a DICOM file → a data set with what its pixels need, and nothing that names a patient.

Guarantees: costs a fraction of what pydicom takes (values stay raw bytes until somebody asks; groups that say nothing
about pixels are stepped over); the items of the functional groups (PS3.3 C.7.6.16) are split once, so a frame of a
thousand costs no more than one of two; deflated files unfold up to a limit; anything unusual is read by pydicom, with
the same values. Raises nothing but LeftOutError.

    >>> dataset = open_object(path.read_bytes())
    >>> dataset.Rows
    512
"""

import io
import struct
import warnings

from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.elements import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    PIXELS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    EndedError,
    UnusualError,
    inflate,
)
from client.dicom.scanning.unusual import ITEMS_LIMIT, MALFORMED

#: Groups that say how an image is made of its pixels; 0054: nuclear medicine, 0062: segments, 2050: presentation
KEPT = frozenset((0x0008, 0x0018, 0x0020, 0x0028, 0x0054, 0x0062, 0x2050, 0x5200, 0x7FE0))
#: What tells the tiles of a Siemens mosaic, kept for those only
MOSAIC = frozenset((0x0019, 0x0029, 0x0051))

IMAGE_TYPE = 0x00080008
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
#: VRs with two reserved bytes and a 32-bit length (PS3.5 table 7.1-1); the others have a 16-bit length
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset(
    (
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO",
        b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    )
)  # fmt: skip
_DEPTH_LIMIT = 32
_NAMES = {vr: vr.decode() for vr in _LONG | _SHORT}

_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHI").unpack_from
_long = struct.Struct("<I").unpack_from

Raw = dict[BaseTag, DataElement | RawDataElement]


def open_object(data: bytes) -> Dataset:
    """The data set in `data`, the bytes of one file. Raises LeftOutError (unreadable, truncated, too_large)."""
    try:
        return _opened(data)
    except EndedError:
        raise LeftOutError(Reason.TRUNCATED) from None
    except UnusualError:
        return _ask_pydicom(data)
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None


def _ask_pydicom(data: bytes) -> Dataset:
    if DEFLATED in data[:1024]:  # pydicom would inflate whatever comes
        raise LeftOutError(Reason.UNREADABLE)
    # an item's tag (PS3.5 7.5) in either byte order
    if data.count(b"\xfe\xff\x00\xe0") + data.count(b"\xff\xfe\xe0\x00") > ITEMS_LIMIT:
        raise LeftOutError(Reason.TOO_LARGE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dcmread(io.BytesIO(data), force=True)
    except MALFORMED:
        raise LeftOutError(Reason.UNREADABLE) from None


def _opened(data: bytes) -> Dataset:
    """`data` with preamble and meta header (PS3.10 7.1), in little endian."""
    if data[128:140] != b"DICM\x02\x00\x00\x00UL\x04\x00" or len(data) < 144:
        raise UnusualError
    start = 144 + _long(data, 140)[0]
    if start > len(data):
        raise EndedError
    syntax = _Walk(data, explicit=True, groups=frozenset((2,))).elements(144, start).get(BaseTag(TRANSFER_SYNTAX))
    name = b"" if syntax is None else bytes(syntax.value or b"").rstrip(b"\0 ")
    if not name or name == BIG_ENDIAN:
        raise UnusualError
    if name == DEFLATED:
        data, start = inflate(data[start:]), 0
    explicit = name != IMPLICIT
    if explicit != (data[start + 4 : start + 6] in _NAMES) and len(data) > start:
        raise UnusualError  # the meta header and the data disagree
    dataset = Dataset(_elements(data, start, explicit))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(name.decode("ascii", "replace"))
    dataset.set_original_encoding(not explicit, True, None)
    return dataset


def _elements(data: bytes, start: int, explicit: bool) -> Raw:
    found = _Walk(data, explicit=explicit, groups=KEPT).elements(start, len(data))
    kind = found.get(BaseTag(IMAGE_TYPE))
    if kind is not None and b"MOSAIC" in bytes(kind.value or b""):
        return _Walk(data, explicit=explicit, groups=KEPT | MOSAIC).elements(start, len(data))
    return found


class _Walk:
    """Steps through `data` in one encoding and keeps the elements of `groups`, or of an item all. Raises UnusualError,
    EndedError."""

    def __init__(self, data: bytes, *, explicit: bool, groups: frozenset[int]) -> None:
        self._data = data
        self._explicit = explicit
        self._groups = groups

    def elements(self, position: int, end: int) -> Raw:
        """The elements from `position` to `end`, or to the pixel data."""
        data, explicit, groups = self._data, self._explicit, self._groups
        into: Raw = {}
        vr = b""
        while position + 8 <= end:
            if explicit:
                group, element, vr, length = _explicit(data, position)
                start = position + 8
                if vr not in _SHORT:
                    length, start = self._long_length(vr, start)
            else:
                group, element, length = _implicit(data, position)
                start = position + 8
            if (group, element) == (0x7FE0, 0x0010):
                stop = end if length == UNDEFINED else start + length
                self._keep(into, PIXELS, vr, (start, stop))
                return into
            position = stop = start + length
            if length == UNDEFINED:
                position = self._after_sequence(vr, start)
                stop = position - 8
            if position > end:
                raise EndedError
            if group in groups:
                self._keep(into, group << 16 | element, vr, (start, stop))
        if position != end:
            raise EndedError
        return into

    def _long_length(self, vr: bytes, start: int) -> tuple[int, int]:
        """The length of 32 bits at `start`, and where the value starts."""
        if vr not in _LONG:
            raise UnusualError
        if start + 4 > len(self._data):
            raise EndedError
        return _long(self._data, start)[0], start + 4

    def _keep(self, into: Raw, number: int, vr: bytes, where: tuple[int, int]) -> None:
        """The element `number`, whose value lies `where`; functional groups as items, everything else raw."""
        start, stop = where
        if stop > len(self._data):
            raise EndedError
        tag = BaseTag(number)
        if number in (SHARED_GROUPS, FRAME_GROUPS):
            into[tag] = DataElement(tag, "SQ", Sequence(self._items(start, stop)))
            return
        name = _NAMES[vr] if self._explicit else None
        value = self._data[start:stop]
        into[tag] = RawDataElement(tag, name, len(value), value, start, not self._explicit, True)

    def _items(self, position: int, stop: int) -> list[Dataset]:
        """The items of a sequence (PS3.5 7.5), their elements raw."""
        items = []
        inside = _Walk(self._data, explicit=self._explicit, groups=_Every())
        while position + 8 <= stop:
            tag, length, position = self._item(position)
            if tag != _ITEM:
                raise UnusualError
            after = self._after_item(position, 0) if length == UNDEFINED else position + length
            item = Dataset(inside.elements(position, after - 8 if length == UNDEFINED else after))
            item.set_original_encoding(not self._explicit, True, None)
            items.append(item)
            position = after
        return items

    def _item(self, position: int) -> tuple[int, int, int]:
        """Tag and length of the item, or of an implicit element, at `position`, and where its value starts."""
        if position + 8 > len(self._data):
            raise EndedError
        group, element, length = _implicit(self._data, position)
        return group << 16 | element, length, position + 8

    def _after_sequence(self, vr: bytes, position: int, depth: int = 0) -> int:
        """The position after a sequence of undefined length whose first item starts at `position`."""
        if depth > _DEPTH_LIMIT or (self._explicit and vr != b"SQ"):
            raise UnusualError
        while True:
            tag, length, position = self._item(position)
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise UnusualError
            position = self._after_item(position, depth) if length == UNDEFINED else position + length

    def _after_item(self, position: int, depth: int) -> int:
        """The position after an item of undefined length whose first element starts at `position`."""
        vr = b""
        while True:
            tag, length, position = self._item(position)
            if tag == _ITEM_END:
                return position
            if self._explicit:
                vr = self._data[position - 4 : position - 2]
                if vr in _SHORT:
                    length >>= 16
                else:
                    length, position = self._long_length(vr, position)
            if length == UNDEFINED:
                position = self._after_sequence(vr, position, depth + 1)
            else:
                position += length


class _Every(frozenset[int]):
    """The set of all groups."""

    def __contains__(self, group: object) -> bool:
        return True
