"""Private attributes that are known to be safe: numbers of a published list, and nothing else (PS3.15 E.3.10).

Guarantees: an attribute is safe only where its private creator, its element and its value representation are those of
private.csv and its value is one or more numbers; every other private attribute is removed.

    >>> is_safe(0x70531000, "Philips PET Private Group", "DS")
    True
"""

from collections.abc import Mapping
from functools import cache

from pydicom.tag import BaseTag, Tag

from client.dicom.deident.table import facts


@cache
def safe() -> Mapping[tuple[int, int, str], str]:
    """Group, element within the block, private creator → value representation."""
    return {
        (int(line["group"], 16), int(line["element"], 16), line["creator"]): line["vr"] for line in facts("private.csv")
    }


def is_safe(tag: int, creator: str, vr: str) -> bool:
    """Whether the private attribute `tag`, in a block of `creator`, is on the list with this `vr`."""
    return safe().get((tag >> 16, tag & 0xFF, creator)) == vr


def creator_tag(tag: BaseTag) -> BaseTag:
    """The tag of the private creator of the block that `tag` lies in (PS3.5 7.8.1)."""
    return Tag(tag.group, tag.element >> 8)
