"""The content tree of a structured report (PS3.3 C.17.3) as plain values.

Guarantees: ends, and stays small, whatever the nesting: a tree deeper than DEPTH or larger than ITEMS is refused as
unreadable. Texts and persons' names in the tree are not read at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason

#: TID 1500 is nested about eight deep.
DEPTH = 32
ITEMS = 100_000

_REFERENCES = ("IMAGE", "COMPOSITE", "WAVEFORM")


@dataclass(frozen=True)
class Node:
    """One content item. `concept`: what it is about; `value`: of a CODE item; `sop`, `sop_class`: of the object that an
    IMAGE item points at; `uid`: of a UIDREF item. Empty or None where the item has no such thing."""

    kind: str
    relationship: str
    concept: Code | None
    value: Code | None
    sop: str = field(repr=False)
    sop_class: str
    uid: str = field(repr=False)
    children: tuple["Node", ...]

    def below(self) -> Iterator["Node"]:
        """This item and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.below()


def read_content(report: Dataset) -> Node:
    """The tree of `report`. Raises LeftOutError(unreadable)."""
    left = [ITEMS]
    return _node(report, left, 1)


def _node(item: Dataset, left: list[int], depth: int) -> Node:
    """`left`: how many items may still come, counted down."""
    left[0] -= 1
    if depth > DEPTH or left[0] < 0:
        raise LeftOutError(Reason.UNREADABLE)
    kind = plain(item.get("ValueType"))
    target = _first(item, "ReferencedSOPSequence") if kind in _REFERENCES else Dataset()
    return Node(
        kind=kind,
        relationship=plain(item.get("RelationshipType")),
        concept=code(_first(item, "ConceptNameCodeSequence")),
        value=code(_first(item, "ConceptCodeSequence")) if kind == "CODE" else None,
        sop=plain(target.get("ReferencedSOPInstanceUID")),
        sop_class=plain(target.get("ReferencedSOPClassUID")),
        uid=plain(item.get("UID")) if kind == "UIDREF" else "",
        children=tuple(_node(child, left, depth + 1) for child in item.get("ContentSequence") or ()),
    )


def _first(item: Dataset, keyword: str) -> Dataset:
    sequence = item.get(keyword)
    return sequence[0] if sequence else Dataset()


def code(item: Dataset) -> Code | None:
    """The code triplet of `item` (PS3.3 8.8), its value short, long or a URN; None if it has none."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    meaning = plain(item.get("CodeMeaning")).strip()
    if not value or not meaning:
        return None
    return Code(plain(value), plain(item.get("CodingSchemeDesignator")), meaning)
