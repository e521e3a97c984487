"""Private attributes that are known to be safe: numbers of a published list, and nothing else (PS3.15 E.3.10).

Guarantees: an attribute is safe only where its private creator, its element and its value representation are those of
private.csv and its value is one or more numbers; every other private attribute is removed.

    >>> is_safe(0x70531000, "Philips PET Private Group", "DS")
    True
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def safe() -> Mapping[tuple[int, int, str], str]:
    """Group, element within the block, private creator → value representation."""
    text = files(__package__).joinpath("private.csv").read_text(encoding="ascii")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {
        (int(row["group"], 16), int(row["element"], 16), row["creator"]): row["vr"]
        for row in csv.DictReader(lines, strict=True)
    }


def is_safe(tag: int, creator: str, vr: str) -> bool:
    """Whether the private attribute `tag`, in a block of `creator`, is on the list with this `vr`."""
    return safe().get((tag >> 16, tag & 0xFF, creator)) == vr


def creator_tag(tag: int) -> int:
    """The tag of the private creator of the block that `tag` lies in (PS3.5 7.8.1)."""
    return tag & 0xFFFF0000 | (tag >> 8 & 0xFF)
