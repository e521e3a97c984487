"""Codes that a hospital or a vendor made up: their words may be anybody's.

Guarantees: local is what PS3.16 section 8.2 reserves for it, the designators "99..." and "L", but for 99SDM, an old
name of SNOMED.
"""

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from client.dicom.deident.elements import read, texts

_SCHEME = 0x00080102
#: Code Value, Code Meaning, Long Code Value, URN Code Value
WORDS = frozenset({0x00080100, 0x00080104, 0x00080119, 0x00080120})


def is_local(item: Dataset) -> bool:
    """Whether `item` is a code of a local coding scheme."""
    element = read(item, Tag(_SCHEME))
    schemes = [] if element is None else texts(element)
    return any(scheme == "L" or (scheme.startswith("99") and scheme != "99SDM") for scheme in schemes)
