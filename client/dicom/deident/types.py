"""Whether an attribute must be there: its type (PS3.5 7.4) in the IOD of a SOP class, for the rows of Table E.1-1 whose
action depends on it.

Guarantees: 1 wherever it is not known, so that the object stays valid: in items of sequences, and in objects of SOP
classes that types.csv does not name (retired and private ones).

    >>> required(0x00080022, "1.2.840.10008.5.1.4.1.1.128", root=True)  # Acquisition Date in a PET image
    2
"""

from collections.abc import Mapping
from functools import cache

from client.dicom.deident.table import facts

_ROOT = "1.2.840.10008.5.1.4."


@cache
def _types() -> Mapping[tuple[int, str], int]:
    return {
        (int(line["tag"], 16), _ROOT + name): int(line["type"])
        for line in facts("types.csv")
        for name in line["classes"].split()
    }


@cache
def _known() -> frozenset[str]:
    return frozenset(sop_class for _, sop_class in _types())


def required(tag: int, sop_class: str, *, root: bool) -> int:
    """1 (with 1C), 2 (with 2C) or 3 (also: not in this IOD); `root`: at the top level of the object."""
    return _types().get((tag, sop_class), 3) if root and sop_class in _known() else 1
