"""Single values of a data set, cheaply and strictly: numbers and texts, straight from the raw bytes where pydicom has
not made something of them yet.

Rules: an absent or blank value is None, "" or (); one that is there and is no number raises ValueError, so that a
damaged header leaves its image out instead of shifting its values. Over-long decimal strings are read whole.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from client.dicom.plain import plain

#: VRs whose bytes are text (PS3.5 6.2); None: an implicit file, where the tag decides
_TEXT = frozenset(("DS", "IS", "CS", "LO", "SH", "UI", "UN", None))


def whole(dataset: Dataset, tag: int) -> int | None:
    """The first number of a US, SS or UL element (PS3.5 6.2)."""
    element = dataset.get_item(tag)
    if element is None:
        return None
    if isinstance(element, RawDataElement):
        if element.VR in ("US", None) and element.value is not None and len(element.value) >= 2:
            return int.from_bytes(element.value[:2], "little" if element.is_little_endian else "big")
        element = dataset[tag]
    value = element.value
    if isinstance(value, list | tuple) or hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    return None if value is None or value == "" else int(value)


def words(dataset: Dataset, tag: int) -> NDArray[np.uint16]:
    """All 16-bit words of a US, SS or OW element, without sign; bytes that came big-endian are put right."""
    element = dataset.get_item(tag)
    value = None if element is None else element.value
    if element is None or value is None or value == "":
        return np.zeros(0, dtype=np.uint16)
    if isinstance(value, bytes):
        little = element.is_little_endian if isinstance(element, RawDataElement) else dataset.original_encoding[1]
        return np.frombuffer(value + b"\0" * (len(value) % 2), ">u2" if little is False else "<u2").astype(np.uint16)
    return (np.atleast_1d(np.asarray(value, dtype=np.int64)) & 0xFFFF).astype(np.uint16)


def texts(dataset: Dataset, tag: int) -> tuple[str, ...]:
    """The values of a text element, stripped."""
    element = dataset.get_item(tag)
    if element is None or element.value is None:
        return ()
    if isinstance(element, RawDataElement) and element.VR in _TEXT:
        text = bytes(element.value).decode("ascii", "replace").strip("\0 ")
        return tuple(part.strip() for part in text.split("\\")) if text else ()
    value = dataset[tag].value
    several = [value] if isinstance(value, str | int | float) else value or []
    return tuple(plain(part).strip() for part in several)


def text(dataset: Dataset, tag: int) -> str:
    """The first value of a text element, stripped."""
    return next(iter(texts(dataset, tag)), "")


def decimals(dataset: Dataset, tag: int) -> tuple[float, ...]:
    """The numbers of a DS or IS element, blanks left out. Raises ValueError for one that is none, or not finite."""
    numbers = tuple(float(part) for part in texts(dataset, tag) if part)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a finite number")
    return numbers


def decimal(dataset: Dataset, tag: int) -> float | None:
    """The first of them."""
    return next(iter(decimals(dataset, tag)), None)
