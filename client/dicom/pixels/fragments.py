"""One frame out of encapsulated pixel data, without touching the others (PS3.5 A.4).

Guarantees: bounded by the bytes that are there. A table that does not fit the frames is not believed: the fragments
are then counted or, where a frame takes several, cut at the end markers of the JPEG family.
"""

import struct
from itertools import pairwise

_ITEM = b"\xfe\xff\x00\xe0"
_END_MARKER = b"\xff\xd9"

_long = struct.Struct("<I").unpack_from


def frame_of(data: bytes, frames: int, index: int, extended: tuple[bytes, bytes] | None = None) -> bytes:
    """The compressed bytes of frame `index` of `frames` in `data`, the value of Pixel Data: items, the first of them
    the basic offset table. `extended`: values of (7FE0,0001) and (7FE0,0002). Raises ValueError."""
    start, length = _item(data, 0)
    first = start + length
    if extended:
        found = _by_extended_table(data, first, frames, index, extended)
        if found is not None:
            return found
    if length >= 4 * frames:
        starts = struct.unpack_from(f"<{frames}I", data, start)
        if _plausible(data, first, starts):
            end = first + starts[index + 1] if index + 1 < frames else len(data)
            return _joined(data, _fragments(data, first + starts[index], end))
    return _by_counting(data, _fragments(data, first, len(data)), frames, index)


def _item(data: bytes, position: int) -> tuple[int, int]:
    """Where the value of the item at `position` starts, and how long it is."""
    if data[position : position + 4] != _ITEM or position + 8 > len(data):
        raise ValueError("an item of pixel data")
    length = _long(data, position + 4)[0]
    if position + 8 + length > len(data):
        raise ValueError("a fragment that is all there")
    return position + 8, length


def _by_extended_table(data: bytes, first: int, frames: int, index: int, extended: tuple[bytes, bytes]) -> bytes | None:
    """One fragment per frame, by 64-bit offset and length (PS3.3 C.7.6.3.1.8)."""
    offsets, lengths = extended
    if min(len(offsets), len(lengths)) < 8 * frames:
        return None
    position = first + int.from_bytes(offsets[8 * index : 8 * index + 8], "little")
    length = int.from_bytes(lengths[8 * index : 8 * index + 8], "little")
    if data[position : position + 4] != _ITEM or position + 8 + length > len(data):
        return None
    return data[position + 8 : position + 8 + length]


def _plausible(data: bytes, first: int, starts: tuple[int, ...]) -> bool:
    """Whether every offset of a basic offset table points at an item, the first at the first, each behind the last."""
    rising = all(one < other for one, other in pairwise(starts))
    return starts[0] == 0 and rising and all(data[first + at : first + at + 4] == _ITEM for at in starts)


def _fragments(data: bytes, position: int, end: int) -> list[tuple[int, int]]:
    """Start and length of the fragments between `position` and `end`, or the sequence delimitation."""
    found = []
    while position + 8 <= end and data[position : position + 4] == _ITEM:
        start, length = _item(data, position)
        found.append((start, length))
        position = start + length
    return found


def _joined(data: bytes, fragments: list[tuple[int, int]]) -> bytes:
    return b"".join(data[start : start + length] for start, length in fragments)


def _by_counting(data: bytes, fragments: list[tuple[int, int]], frames: int, index: int) -> bytes:
    if frames == 1:
        return _joined(data, fragments)
    if len(fragments) == frames:
        return _joined(data, fragments[index : index + 1])
    frame, passed = list[tuple[int, int]](), 0
    for start, length in fragments:
        frame.append((start, length))
        if _END_MARKER in data[max(start, start + length - 10) : start + length]:
            if passed == index:
                return _joined(data, frame)
            frame, passed = [], passed + 1
    raise ValueError("a frame of its own for every number")
