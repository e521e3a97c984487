"""DICOM files as trees of elements, changed as such, written with lengths that fit: a mutation of the header gets past
the first reader this way, where a flipped byte seldom does.

Both byte orders, explicit and implicit, deflated or not (PS3.5 section 7, A.1 to A.5). Other bytes have no tree.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
VRS = (*sorted(LONG), *b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
UNDEFINED, ITEM, ITEM_END, SEQUENCE_END = 0xFFFFFFFF, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SYNTAX, PIXELS = 0x00020010, 0x7FE00010
#: Elements of a tree; files with more are varied as bytes.
MOST = 5000
#: What decides sizes, places and brightness: changed more often than the rest.
TELLING = frozenset((0x0020, 0x0028, 0x5200, 0x7FE0, 0x0029, 0x0054, 0x0062, 0x2050, 0x3004, 0x3006, 0x0040))

Nodes = list["Node"]


@dataclass
class Node:
    """An element: `value`, or the `items` of a sequence. `vr` is empty in implicit files."""

    tag: int
    vr: bytes
    value: bytes
    items: "list[Nodes] | None" = None
    undefined: bool = False


@dataclass
class File:
    """`head`: preamble and mark; `meta`: group 2; `body`: the data set."""

    head: bytes
    meta: Nodes
    body: Nodes
    explicit: bool
    little: bool
    deflated: bool

    def lists(self) -> Iterator[Nodes]:
        """All lists of elements, of items too."""
        waiting = [self.meta, self.body]
        while waiting:
            nodes = waiting.pop()
            yield nodes
            waiting += [item for node in nodes for item in node.items or ()]


class _Reader:
    def __init__(self, data: bytes, explicit: bool, little: bool) -> None:
        self.data, self.explicit, self.order, self.left = data, explicit, "<" if little else ">", MOST

    def nodes(self, at: int, end: int, last: int = 0) -> tuple[Nodes, int]:
        """Elements from `at` to `end`, or the delimitation `last`, and the place behind."""
        found: Nodes = []
        while at < end:
            self.left -= 1
            group, element = struct.unpack_from(self.order + "HH", self.data, at)
            tag = group << 16 | element
            if tag == last:
                return found, at + 8
            if self.left < 0 or group == 0xFFFE:
                raise ValueError("a tree to be varied")
            node, at = self.node(tag, at)
            found.append(node)
        return found, at

    def node(self, tag: int, at: int) -> tuple[Node, int]:
        vr, start = b"", at + 8
        if self.explicit:
            vr, (length,) = self.data[at + 4 : at + 6], struct.unpack_from(self.order + "H", self.data, at + 6)
            if vr in LONG:
                (length,), start = struct.unpack_from(self.order + "I", self.data, at + 8), at + 12
        else:
            (length,) = struct.unpack_from(self.order + "I", self.data, at + 4)
        if length == UNDEFINED and tag == PIXELS:
            return Node(tag, vr, self.data[start:], undefined=True), len(self.data)
        if vr == b"SQ" or length == UNDEFINED or (not self.explicit and self.is_item(start, length)):
            items, at = self.items(start, len(self.data) if length == UNDEFINED else start + length)
            return Node(tag, vr, b"", items, length == UNDEFINED), at
        if start + length > len(self.data):
            raise ValueError("a whole element")
        return Node(tag, vr, self.data[start : start + length]), start + length

    def is_item(self, at: int, length: int) -> bool:
        return length >= 8 and struct.unpack_from(self.order + "HH", self.data, at) == (0xFFFE, 0xE000)

    def items(self, at: int, end: int) -> tuple[list[Nodes], int]:
        found: list[Nodes] = []
        while at < end:
            group, element, length = struct.unpack_from(self.order + "HHI", self.data, at)
            at += 8
            if group << 16 | element == SEQUENCE_END:
                break
            nodes, at = self.nodes(at, end if length == UNDEFINED else at + length, ITEM_END)
            found.append(nodes)
        return found, at


def parse(data: bytes) -> File | None:
    """The tree of `data`; None for what has none."""
    try:
        if data[128:140] != b"DICM\x02\x00\x00\x00UL\x04\x00":
            return None
        start = 144 + struct.unpack_from("<I", data, 140)[0]
        meta, _ = _Reader(data[:start], explicit=True, little=True).nodes(144, start)
        syntax = next((node.value.rstrip(b"\0 ") for node in meta if node.tag == SYNTAX), b"")
        deflated = syntax == b"1.2.840.10008.1.2.1.99"
        explicit, little = syntax != b"1.2.840.10008.1.2", syntax != b"1.2.840.10008.1.2.2"
        rest = zlib.decompress(data[start:], -zlib.MAX_WBITS) if deflated else data[start:]
        body, _ = _Reader(rest, explicit, little).nodes(0, len(rest))
    except (struct.error, ValueError, zlib.error, RecursionError):
        return None
    return File(data[:132], meta, body, explicit, little, deflated)


def written(file: File) -> bytes:
    """The bytes of `file`; group 2 gets the length that it has."""
    meta = b"".join(_node(node, True, "<") for node in file.meta)
    body = b"".join(_node(node, file.explicit, "<" if file.little else ">") for node in file.body)
    if file.deflated:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return file.head + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta) & UNDEFINED) + meta + body


def _node(node: Node, explicit: bool, order: str) -> bytes:
    value = node.value if node.items is None else _items(node, explicit, order)
    length = UNDEFINED if node.undefined else len(value)
    if node.undefined and node.items is not None:
        value += struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
    tag = struct.pack(order + "HH", node.tag >> 16, node.tag & 0xFFFF)
    if not explicit:
        return tag + struct.pack(order + "I", length) + value
    if node.vr in LONG:
        return tag + node.vr + b"\0\0" + struct.pack(order + "I", length) + value
    return tag + node.vr[:2].ljust(2) + struct.pack(order + "H", length & 0xFFFF) + value


def _items(node: Node, explicit: bool, order: str) -> bytes:
    pieces = []
    for item in node.items or ():
        inside = b"".join(_node(one, explicit, order) for one in item)
        length = UNDEFINED if node.undefined else len(inside)
        pieces.append(struct.pack(order + "HHI", 0xFFFE, 0xE000, length) + inside)
        if node.undefined:
            pieces.append(struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0))
    return b"".join(pieces)


def chosen(random: Random, file: File) -> tuple[Nodes, int] | None:
    """A list of elements and a place in it: mostly one that tells something of pixels or places."""
    places = [(nodes, at) for nodes in file.lists() for at in range(len(nodes))]
    telling = [(nodes, at) for nodes, at in places if nodes[at].tag >> 16 in TELLING]
    if telling and random.random() < 0.6:
        return random.choice(telling)
    return random.choice(places) if places else None
