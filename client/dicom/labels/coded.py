"""The coded findings of a report's content tree, and the images each of them speaks for.

Guarantees: pure; what is not coded as a finding of this examination is passed over: free text, measurements, sites,
previous findings (121069, DCM).
"""

from collections.abc import Iterator

from pydicom.sr.coding import Code

from client.dicom.labels.content import Node
from client.dicom.labels.findings import Said

#: A level (levels.py) and an identifier there.
Target = tuple[str, str]

#: Finding, Impression, Conclusion (PS3.16 TID 2000, TID 1411 and 1501; Annex D).
FINDINGS = frozenset((("121071", "DCM"), ("121073", "DCM"), ("121077", "DCM")))
MEASUREMENT_GROUP = ("125007", "DCM")
SOURCE_SERIES = ("121232", "DCM")

#: "Absent", "Known absent", "Negative", "No" (PS3.16 CID 240, 250, 230), and their codes of before 2018.
NEGATIONS = frozenset(
    (
        *((value, "SCT") for value in ("272519000", "2667000", "410516002", "260385009", "373067005")),
        *((value, "SRT") for value in ("R-4089B", "G-A46B", "R-40759", "R-00339")),
    )
)
#: Presence: beside a finding in its measurement group, the answer to this is about the finding.
PRESENCE = ("705057003", "SCT")

#: Objects that are made from images and are none (PS3.4 B.5): segmentations, structure sets.
_NOT_IMAGES = ("1.2.840.10008.5.1.4.1.1.66.", "1.2.840.10008.5.1.4.1.1.481.3")


def statements_of(root: Node, spelling: str) -> Iterator[tuple[tuple[Target, ...], Said]]:
    """What is said, and of which images and series; of none named: of all that the report is about."""
    yield from _walk(root, (), spelling)


def _walk(node: Node, around: tuple[Target, ...], spelling: str) -> Iterator[tuple[tuple[Target, ...], Said]]:
    """`around`: what the nearest container outside refers to."""
    if _is(node.concept, MEASUREMENT_GROUP):
        near, denied = _targets(node.below()) or around, _denied(node)
    else:
        near, denied = _targets(_direct(node)) or around, False
    for child in node.children:
        if child.kind == "CODE" and child.value and _key(child.concept) in FINDINGS:
            label = child.value.meaning if spelling == "meaning" else f"{_key(child.value)[1]} {child.value.value}"
            negated = denied or _key(child.value) in NEGATIONS or any(_negates(below) for below in child.children)
            name = frozenset((label,))
            yield _targets(child.below()) or near, Said(absent=name) if negated else Said(present=name)
        yield from _walk(child, near, spelling)


def _direct(node: Node) -> Iterator[Node]:
    """What `node` itself refers to, and where its regions of interest lie; not what its sections refer to."""
    for child in node.children:
        if child.kind in ("IMAGE", "UIDREF", "SCOORD"):
            yield from child.below()


def _targets(nodes: Iterator[Node]) -> tuple[Target, ...]:
    """Images and source series among `nodes`, each once."""
    found: dict[Target, None] = {}
    for node in nodes:
        if node.sop and not node.sop_class.startswith(_NOT_IMAGES):
            found["sop_instance_uid", node.sop] = None
        if node.uid and _is(node.concept, SOURCE_SERIES):
            found["series_instance_uid", node.uid] = None
    return tuple(found)


def _denied(group: Node) -> bool:
    """Whether a measurement group says of its finding that it is not present."""
    return any(_is(child.concept, PRESENCE) and _key(child.value) in NEGATIONS for child in group.children)


def _negates(node: Node) -> bool:
    """Whether a modifier or property of a finding says that it is not there."""
    return node.kind == "CODE" and _key(node.value) in NEGATIONS


def _is(code: Code | None, key: tuple[str, str]) -> bool:
    return _key(code) == key


def _key(code: Code | None) -> tuple[str, str]:
    return (code.value, code.scheme_designator) if code else ("", "")
