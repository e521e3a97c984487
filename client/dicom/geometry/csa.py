"""Siemens' private headers: the few values of the "CSA" elements that say how a mosaic lies.

Guarantees: reads within the bytes given, whatever they are; what is not there or no number is absent. Both versions of
the format are read: with the mark SV10 and, from before 2002, without. As of the `CSA header` description of nibabel's
documentation; the protocol is text in one of the elements, in lines `name = value`.
"""

import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.geometry.values import floats
from client.dicom.plain import plain

_CREATOR = "SIEMENS CSA HEADER"
#: Elements and items in one header; real ones have about a hundred, and six.
_MOST = 1024
#: follows the number of elements
_MARK = 77
_SLICES = re.compile(rb"sSliceArray\.lSize\s*=\s*(\d{1,4})\s")
_COORDINATE = re.compile(
    rb"sSliceArray\.asSlice\[(\d{1,4})\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*(-?\d{1,9}(?:\.\d{0,20})?(?:e[-+]?\d{1,3})?)\s"
)
_AXES = (b"Sag", b"Cor", b"Tra")  # LPS x, y, z


@dataclass(frozen=True, eq=False)
class Plan:
    """How slices lie. `normal`: direction from a slice to the next. `centres`: [slices, 3] LPS mm, the middle of each
    slice as the protocol has it, in its order."""

    normal: tuple[float, ...] | None
    centres: NDArray[np.float64] | None


def image_count(dataset: Dataset) -> int:
    """Tiles of the mosaic that hold a slice; 0 if the private headers do not say."""
    counts = floats(elements(_block(dataset, 0x10)).get("NumberOfImagesInMosaic", ())[:1], 1)
    if counts:
        return int(counts[0])
    plain = dataset.get((0x0019, 0x100A))  # Number Of Images In Mosaic, outside the header
    return _unsigned(plain.value if plain else None) or _planned(_block(dataset, 0x20))


def read_plan(dataset: Dataset) -> Plan:
    """What the private headers of `dataset` say of its slices."""
    normal = floats(elements(_block(dataset, 0x10)).get("SliceNormalVector", ())[:3], 3)
    series = _block(dataset, 0x20)
    return Plan(normal, _centres(series, _planned(series)))


def _block(dataset: Dataset, offset: int) -> bytes:
    """Element `offset` of the private block of group 0029; by its usual place if a PACS dropped the creators."""
    block = 0x10
    for candidate in range(0x10, 0x20):
        creator = dataset.get((0x0029, candidate))
        if creator is not None and plain(creator.value).strip() == _CREATOR:
            block = candidate
            break
    element = dataset.get((0x0029, block << 8 | offset))
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def _unsigned(value: object) -> int:
    if isinstance(value, bytes):  # of unknown representation, from an implicit file
        value = int.from_bytes(value[:2], "little")
    return value if isinstance(value, int) else 0


def elements(header: bytes) -> dict[str, tuple[str, ...]]:
    """The texts of each element of a CSA header, by name; as many as are whole."""
    modern = header[:4] == b"SV10"
    found: dict[str, tuple[str, ...]] = {}
    try:
        count, mark = struct.unpack_from("<II", header, 8 if modern else 0)
        if mark != _MARK or count > _MOST:
            return {}
        position = 16 if modern else 8
        surplus = 0
        for number in range(count):
            name, _, _, _, items, _ = struct.unpack_from("<64si4s3i", header, position)
            if number == 0 and not modern:
                surplus = items  # before SV10 each length has the number of items of the first element added
            texts, position = _items(header, position + 84, items, surplus, modern)
            found[name.split(b"\0")[0].decode("latin-1")] = texts
    except struct.error:
        pass  # the header ends here
    return found


def _items(header: bytes, position: int, count: int, surplus: int, modern: bool) -> tuple[tuple[str, ...], int]:
    """The texts of the `count` items from `position`, empty ones left out, and the position behind them.

    Raises struct.error if an item does not end within the header.
    """
    texts = []
    for _ in range(min(max(count, 0), _MOST)):
        lengths = struct.unpack_from("<4i", header, position)
        length = lengths[1] if modern else lengths[0] - surplus
        (content,) = struct.unpack_from(f"{max(length, 0)}s", header, position + 16)
        if text := content.split(b"\0")[0].strip().decode("latin-1"):
            texts.append(text)
        position += 16 + (len(content) + 3) // 4 * 4
    return tuple(texts), position


def _planned(series: bytes) -> int:
    """Slices in the protocol."""
    found = _SLICES.search(series)
    return int(found[1]) if found else 0


def _centres(series: bytes, count: int) -> NDArray[np.float64] | None:
    """Positions of the slices in the protocol; a coordinate that is 0 is not written there."""
    if not 0 < count <= _MOST:
        return None
    centres = np.zeros((count, 3))
    seen = set()
    for index, axis, value in _COORDINATE.findall(series):
        if int(index) < count:
            centres[int(index), _AXES.index(axis)] = float(value)
            seen.add(int(index))
    # only one slice can lie in the middle of the magnet, with all three coordinates 0
    return centres if len(seen) >= count - 1 and bool(np.isfinite(centres).all()) else None
