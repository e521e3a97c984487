"""Hostile changes of DICOM elements: numbers at their limits, other representations, missing and repeated elements,
elements of other files, sequences in sequences."""

import struct
from collections.abc import Sequence
from random import Random

from tests.fuzz.elements import PIXELS, VRS, File, Node, Nodes, chosen, parse, written

#: Texts that stand for numbers, in the units of geometry and brightness.
NUMBERS = (
    b"0", b"-0", b"1", b"-1", b"2", b"1e308", b"-1e308", b"1e-320", b"5e-324", b"1e38", b"1e9", b"99999", b"0.001",
    b"nan", b"inf", b"-inf", b"1e999", b"", b" ", b"1_0", b"0x10", b"65535", b"65536", b"4294967296", b"9" * 20,
    b"9" * 4400, b"1.0000000000000000000001", b"a", b"\xff", b"1,5", b"16777217", b"999999999999",
)  # fmt: skip
WORDS = (
    b"MONOCHROME1", b"MONOCHROME2", b"PALETTE COLOR", b"YBR_FULL", b"YBR_FULL_422", b"YBR_RCT", b"RGB", b"INVERSE",
    b"SIGMOID", b"LINEAR_EXACT", b"LOG", b"MR", b"PT", b"XA", b"CT", b"US", b"MOSAIC", b"ORIGINAL\\PRIMARY\\M\\MOSAIC",
    b"YES", b"BINARY", b"FRACTIONAL", b"LABELMAP", b"TILED_FULL", b"CLOSED_PLANAR", b"CONTAINS", b"CONTAINER", b"CODE",
    b"ISO_IR 192", b"ISO 2022 IR 87", b"\\ISO 2022 IR 149", b"ISO_IR 999", b"040Y", b"20240231", b"1.2.840.10008.1.2.5",
    b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.201",
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.4.1",
    b"1.2.840.10008.5.1.4.1.1.88.33", b"1.2.840.10008.5.1.4.1.1.481.3", b"1.2.840.10008.5.1.4.1.1.20", b"\x1b$B" * 40,
)  # fmt: skip
#: Tags that change what an object is: size, frames, bits, tables, groups, geometry, private headers.
TAGS = (
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280034, 0x00280100,
    0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121, 0x00281050, 0x00281051, 0x00281052, 0x00281053,
    0x00281054, 0x00281056, 0x00281101, 0x00281201, 0x00281221, 0x00283000, 0x00283010, 0x00283002, 0x00283006,
    0x00200032, 0x00200037, 0x00180088, 0x00189087, 0x00200013, 0x00080008, 0x00080016, 0x00080018, 0x00080060,
    0x00080005, 0x52009229, 0x52009230, 0x00209113, 0x00540080, 0x3004000C, 0x00291010, 0x00291020, 0x0019100A,
    0x7FE00001, 0x7FE00002, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0x0062000B, 0x00620002, 0x30060050, 0x0040A730,
    0x00020010, 0x60003000, 0x60000102, 0x00100010, 0x00100020, 0x00400275, 0x20500020,
)  # fmt: skip
#: Elements below which one may be repeated often, and above which nothing is added.
_SMALL, _LARGE = 500, 20_000
_EDGES = (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 64, 127, 128, 255, 256, 4096, 32767, 32768, 65535)
_COUNTS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FD": "d", b"FL": "f"}


def varied(random: Random, seed: bytes, seeds: Sequence[bytes]) -> bytes | None:
    """`seed` with some of its elements changed; None if it has no tree."""
    file = parse(seed)
    if file is None:
        return None
    for _ in range(random.choice((1, 1, 1, 2, 2, 4, 8))):
        size = sum(map(len, file.lists()))
        place = chosen(random, file)
        if place is None or size > _LARGE:
            break
        _change(random, file, place, seeds, 100 if size < _SMALL else 2)
    try:
        return written(file)
    except RecursionError:  # deeper than Python may write
        return None


def _change(random: Random, file: File, place: tuple[Nodes, int], seeds: Sequence[bytes], many: int) -> None:
    """`many`: how often something may be repeated."""
    nodes, at = place
    kind = random.randrange(16)
    if kind < 7:
        _other_value(random, nodes[at], "<" if file.little else ">")
    elif kind == 7:
        del nodes[at]
    elif kind == 8:
        nodes[at:at] = [nodes[at]] * random.choice((1, 1, 2, many))
    elif kind == 9:
        nodes[at].tag = random.choice((*TAGS, nodes[at].tag ^ 1 << random.randrange(32)))
    elif kind == 10 and file.explicit:
        nodes[at].vr = random.choice((*VRS, b"??", b"\0\0", b"ox"))
    elif kind == 11:
        _graft(random, nodes, at, random.choice(seeds))
    elif kind == 12 and nodes[at].items is not None:
        _other_items(random, nodes[at], many)
    elif kind == 13:
        nodes[at].undefined = not nodes[at].undefined
    elif kind == 14:
        nodes[at:at] = [Node(random.choice(TAGS), random.choice(VRS), random.choice((*NUMBERS, *WORDS)))]
    else:
        depth = random.choice((1, 3, 40, 400))
        inside = nodes[at]
        for _ in range(depth):
            inside = Node(inside.tag, b"SQ", b"", [[inside]], random.random() < 0.5)
        nodes[at] = inside


def _other_value(random: Random, node: Node, order: str) -> None:
    """A value that the representation could have, or nearly."""
    code = _COUNTS.get(node.vr)
    if node.tag == PIXELS or (node.items is None and random.random() < 0.2):
        node.value = _bytes(random, node.value)
    elif code in ("d", "f"):
        numbers = [float(text) for text in (b"0", b"-1", b"1e-38", b"1e38", b"nan", b"inf", b"-inf", b"1000")]
        node.value = struct.pack(order + code, random.choice(numbers)) * random.choice((1, 1, 2, 3, 6))
    elif code:
        width = struct.calcsize(code)
        edges = [number.to_bytes(width, "little" if order == "<" else "big") for number in _EDGES]
        edges.append(b"\xff" * width)
        node.value = random.choice(edges) * random.choice((1, 1, 1, 2, 3, 300))
    elif node.items is None:
        node.value = _text(random, node.value)


def _text(random: Random, value: bytes) -> bytes:
    parts = value.split(b"\\")
    kind = random.randrange(5)
    if kind == 0:
        return random.choice((*NUMBERS, *WORDS))
    if kind == 1:
        return b"\\".join([random.choice(NUMBERS)] * len(parts))
    if kind == 2:
        return b"\\".join(parts * random.choice((2, 3, 500)))[:60000]
    if kind == 3:
        return b"\\".join(parts[:-1])
    parts[random.randrange(len(parts))] = random.choice(NUMBERS)
    return b"\\".join(parts)


def _bytes(random: Random, value: bytes) -> bytes:
    data = bytearray(value)
    for _ in range(random.choice((1, 1, 2, 8, 30))):
        at = random.randrange(len(data) + 1)
        kind = random.randrange(6)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            del data[at : at + random.choice((1, 2, 16))]
        elif kind == 2:
            data[at:at] = random.randbytes(random.choice((1, 4, 64)))
        elif data and kind < 5:
            data[at % len(data)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        else:
            data[at : at + 2] = random.choice((0, 1, 8, 64, 255, 65535)).to_bytes(2, random.choice(("little", "big")))
    return bytes(data)


def _other_items(random: Random, node: Node, many: int) -> None:
    items = node.items or []
    kind = random.randrange(4)
    if kind == 0:
        node.items = []
    elif kind == 1 and items:
        node.items = items * random.choice((2, 3, many))
    elif kind == 2 and items:
        del items[random.randrange(len(items))]
    else:
        node.items = [*items, []]


def _graft(random: Random, nodes: Nodes, at: int, other: bytes) -> None:
    """An element of another file, in its own encoding's words."""
    file = parse(other)
    place = chosen(random, file) if file else None
    if place:
        nodes[at:at] = [place[0][place[1]]]
