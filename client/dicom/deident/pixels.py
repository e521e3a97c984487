"""The pixel data element as it leaves: the same pixels, and nothing beside them.

Guarantees: compressed frames lose the comments in their streams (streams.py); native pixels lose what is written behind
the last frame; lengths and values of pixels stay.
"""

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from client.dicom.deident.elements import Element
from client.dicom.deident.streams import without_comments

PIXEL_DATA = 0x7FE00010


def pixels_alone(element: Element, dataset: Dataset, syntax: UID) -> DataElement | RawDataElement:
    """`element`, Pixel Data of `dataset` in `syntax`, without what is no pixel. Raises LeftOutError."""
    value = element.source.value
    if not isinstance(value, bytes):
        return DataElement(element.tag, element.vr, None)
    alone = without_comments(value, syntax) if syntax.is_encapsulated else _without_tail(value, _native_bytes(dataset))
    if isinstance(element.source, RawDataElement):
        return element.source._replace(value=alone)
    made = DataElement(element.tag, element.vr, alone)
    made.is_undefined_length = element.source.is_undefined_length
    return made


def _native_bytes(dataset: Dataset) -> int:
    """Bytes that the pixels of `dataset` take at most (PS3.5 8.2; with halved chroma they take fewer)."""
    pixels = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) * int(dataset.get("SamplesPerPixel") or 1)
    bits = pixels * int(dataset.get("NumberOfFrames") or 1) * int(dataset.get("BitsAllocated") or 0)
    return (bits + 7) // 8


def _without_tail(value: bytes, size: int) -> bytes:
    return value if len(value) <= size else value[:size] + bytes(len(value) - size)
