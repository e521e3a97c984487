"""Hostile variations of valid bytes, the same for the same random state.

Five grammars: `bytes` and `text` (bits, lengths, pieces, odd tokens); `msgpack` and `json`, whose values are changed as
trees before the bytes are: types swapped, numbers at their limits, keys repeated or unknown, nesting without end, and
what is packed inside a byte string changed in its place; and `dicom`, whose elements are (element_changes.py).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import msgspec

from tests.fuzz.element_changes import varied

Grammar = Literal["bytes", "text", "msgpack", "json", "dicom"]

#: Bytes of the longest input made: a small image of a scanner's fits.
LONGEST = 1 << 18
#: Numbers at which widths, signs and limits end.
EDGES = (
    0, 1, -1, 2, 16, 127, 128, 255, 256, 4299, 4301, 65535, 65536, 2**24, 2**28 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**63),
)  # fmt: skip
FLOATS = (0.0, -0.0, 0.5, 1.5, -1.0, 1e-308, 1e308, float("inf"), float("-inf"), float("nan"))
#: Words that parsers, terminals and file systems stumble over.
WORDS = (
    "", "\0", "\x1b[31m", "\u202e", "\ufeff", "\ud7ff\ue000", "\U0010ffff", "é", "e\u0301", "ß", "١٢", "½",
    "../../etc/passwd", "/", "a" * 300, "9" * 4301, "1e999", "-0", "NaN", "null", "\r\n", "\t", '"', "'", "\\", "%00",
    "%ff", "{{7*7}}", "[bold]",
)  # fmt: skip
TOKENS = (
    *(word.encode() for word in WORDS), b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"[" * 2000,
    b"{" * 500, b"(" * 200, b'{"a":' * 1500, b"." * 300, b"a." * 3000, b'"""', b"'''", b"\n", b",", b";", b"=", b":",
    b"[[a]]", b"a={b=1}", b"0x" + b"f" * 5000, b"1" * 5000, b"2021-02-30", b"23:60:60", b"true", b"\\ud800",
    b"\\u0000", b"#", b"\xef\xbb\xbf", b"\r", b" " * 100, b"\x91" * 3000, b"\x81\xa1a" * 1000,
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc9\x7f\xff\xff\xff\x01", b"\xc1", b"\xd6\xff\x00\x00\x00\x00", b"\xc0", b"\xc2", b"\x80", b"\x90",
)  # fmt: skip

#: Levels of lists or maps beyond which packed bytes are left alone.
_DEEP = 50

Tree = Any


class Mutator:
    """Varies `seeds`; `tokens` are words of the format at hand."""

    def __init__(self, seeds: Sequence[bytes], grammar: Grammar, tokens: Sequence[bytes] = ()) -> None:
        self._seeds, self._grammar = tuple(seeds), grammar
        self._tokens = (*TOKENS, *tokens, *tokens)
        self._trees = [tree for tree in map(_tree_reader(grammar), seeds) if tree is not None]

    def __call__(self, random: Random) -> bytes:
        """One input: a seed as it is (seldom), its tree changed, its bytes changed, or both."""
        seed = random.choice(self._seeds)
        if random.random() < 0.005:
            return seed[:LONGEST]
        if random.random() < 0.01:
            return random.randbytes(random.choice((0, 1, 2, 8, 9, 64, 1000)))
        if self._trees and random.random() < 0.75:
            seed = self._from_tree(random)
            if random.random() < 0.8:
                return seed[:LONGEST]
        if self._grammar == "dicom" and random.random() < 0.75:
            seed = varied(random, seed, self._seeds) or seed
            if random.random() < 0.8:
                return seed[:LONGEST]
        data = bytearray(seed)
        for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
            self._change(random, data)
        return bytes(data[:LONGEST])

    def _from_tree(self, random: Random) -> bytes:
        tree = random.choice(self._trees)
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            tree = changed(random, tree, self._trees)
        with suppress(RecursionError):  # what was packed inside may itself be deep
            return encoded(tree, self._grammar)
        return random.choice(self._seeds)

    def _change(self, random: Random, data: bytearray) -> None:
        """One change of bytes, in place."""
        at = random.randrange(len(data) + 1)
        kind = random.randrange(10)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = random.randrange(256)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + random.choice((1, 2, 4, 16, 256))]
        elif kind == 4:
            piece = data[at : at + random.choice((1, 4, 32, 512))]
            data[at:at] = piece * random.choice((1, 2, 64))
        elif kind == 5:
            data[at:at] = random.choice(self._tokens)
        elif kind == 6:
            token = random.choice(self._tokens)
            data[at : at + len(token)] = token
        elif kind == 7:  # a length or a number, whatever its width and order
            width = random.choice((1, 2, 4, 8))
            number = random.choice(EDGES) & (1 << 8 * width) - 1
            data[at : at + width] = number.to_bytes(width, random.choice(("little", "big")))
        elif kind == 8:
            other = random.choice(self._seeds)
            cut = random.randrange(len(other) + 1)
            data[at:] = other[cut:] if random.random() < 0.5 else other[cut : cut + 64] + data[at + 64 :]
        else:
            data[at:at] = random.randbytes(random.choice((1, 4, 32)))


def changed(random: Random, tree: Tree, trees: Sequence[Tree]) -> Tree:  # noqa: PLR0911  one per kind of value
    """`tree` with one value or key of it changed; the tree itself is left as it is."""
    if isinstance(tree, dict) and tree and random.random() < 0.85:
        if random.random() < 0.25:
            return _other_keys(random, tree)
        key = random.choice(list(tree))
        return {**tree, key: changed(random, tree[key], trees)}
    if isinstance(tree, list) and tree and random.random() < 0.8:
        if random.random() < 0.3:
            return _other_items(random, tree)
        at = random.randrange(len(tree))
        return [*tree[:at], changed(random, tree[at], trees), *tree[at + 1 :]]
    if isinstance(tree, bytes) and random.random() < 0.6:
        inner = _packed(tree)
        if inner is not None:
            return encoded(changed(random, inner, trees), "msgpack")
        data = bytearray(tree)
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(data)
    return _another(random, tree, trees)


def _another(random: Random, tree: Tree, trees: Sequence[Tree]) -> Tree:  # noqa: PLR0911  one per kind of change
    """A value in the place of `tree`: near it, at a limit, of another type, or far too large."""
    kind = random.randrange(12)
    if kind < 3 and isinstance(tree, int):
        return random.choice((tree + 1, tree - 1, -tree, tree * 2, tree ^ 1 << random.randrange(64)))
    if kind < 3 and isinstance(tree, str | bytes):
        cut = random.randrange(len(tree) + 1)
        return random.choice((tree[:cut], tree * 2, tree[:0], tree * 50 if len(tree) < 200 else tree))
    if kind < 3 and isinstance(tree, float):
        return random.choice((-tree, tree * 1e6, tree / 1e6, float(int(tree)) if abs(tree) < 1e9 else 0.0))
    if kind < 5:
        return random.choice(EDGES)
    if kind == 5:
        return random.choice(FLOATS)
    if kind == 6:
        return random.choice(WORDS)
    if kind == 7:
        return random.choice((None, True, False, [], {}, b"", bytes(32), bytes(64), [None] * 300))
    if kind == 8:
        return Nested(random.choice((10, 100, 900, 5000)), maps=random.random() < 0.5)
    if kind == 9:
        return _some_node(random, random.choice(trees))
    return random.choice((random.randbytes(random.choice((0, 31, 32, 33, 64, 300))), [tree, tree], {"a": tree}))


@dataclass(frozen=True)
class Nested:
    """Lists, or maps, in one another: deeper than Python may build them, so written out by `encoded` only."""

    depth: int
    maps: bool

    def written(self, grammar: Grammar) -> bytes:
        """Its bytes."""
        if grammar == "msgpack":
            return (b"\x81\xa1a" if self.maps else b"\x91") * self.depth + b"\xc0"
        begin, end = (b'{"a":', b"}") if self.maps else (b"[", b"]")
        return begin * self.depth + b"1" + end * self.depth


class _Pairs(dict[str, Tree]):
    """A map with keys that stand twice: `again` holds the second ones."""

    again: tuple[tuple[str, Tree], ...] = ()


def _other_keys(random: Random, tree: dict[str, Tree]) -> Tree:
    key, kind = random.choice(list(tree)), random.randrange(5)
    if kind == 0:
        return {name: value for name, value in tree.items() if name != key}
    if kind == 1:
        return {**tree, random.choice((*WORDS, "type", "version")): random.choice((*EDGES, *WORDS))}
    if kind == 2:
        return {random.choice(WORDS) if name == key else name: value for name, value in tree.items()}
    if kind == 3:
        return dict(sorted(tree.items(), key=lambda _: random.random()))
    twice = _Pairs(tree)
    twice.again = ((key, random.choice((tree[key], *EDGES))),)
    return twice


def _other_items(random: Random, tree: list[Tree]) -> Tree:
    at, kind = random.randrange(len(tree)), random.randrange(5)
    if kind == 0:
        return tree[:at] + tree[at + 1 :]
    if kind == 1:
        return [*tree, tree[at]]
    if kind == 2:
        return [*tree[:at], *[tree[at]] * random.choice((2, 200)), *tree[at + 1 :]]
    return tree[::-1] if kind == 3 else []


def _some_node(random: Random, tree: Tree) -> Tree:
    for _ in range(random.randrange(6)):
        if isinstance(tree, dict) and tree:
            tree = tree[random.choice(list(tree))]
        elif isinstance(tree, list) and tree:
            tree = random.choice(tree)
    return tree


def encoded(tree: Tree, grammar: Grammar) -> bytes:
    """`tree` as bytes; what a grammar cannot hold becomes text."""
    write = _msgpack if grammar == "msgpack" else _json
    if isinstance(tree, Nested):
        return tree.written(grammar)
    if isinstance(tree, dict):
        pairs = [*tree.items(), *(tree.again if isinstance(tree, _Pairs) else ())]
        keys = [write(name) if isinstance(name, str) or grammar == "msgpack" else write(str(name)) for name, _ in pairs]
        values = [encoded(value, grammar) for _, value in pairs]
        if grammar == "json":
            return b"{" + b",".join(b":".join(pair) for pair in zip(keys, values, strict=True)) + b"}"
        head = bytes([0x80 | len(pairs)]) if len(pairs) < 16 else b"\xde" + (len(pairs) & 0xFFFF).to_bytes(2, "big")
        return head + b"".join(part for pair in zip(keys, values, strict=True) for part in pair)
    if isinstance(tree, list):
        items = [encoded(item, grammar) for item in tree]
        if grammar == "json":
            return b"[" + b",".join(items) + b"]"
        head = bytes([0x90 | len(items)]) if len(items) < 16 else b"\xdc" + (len(items) & 0xFFFF).to_bytes(2, "big")
        return head + b"".join(items)
    return write(tree)


def _msgpack(value: Tree) -> bytes:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = float(value) if abs(value) < 2**1000 else 0
    return msgspec.msgpack.encode(value)


def _json(value: Tree) -> bytes:
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, float) and value - value != 0:  # JSON has no infinity
        return b"1e999"
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    return msgspec.json.encode(value)


def _packed(data: bytes) -> Tree:
    """What is packed in `data`, if it is a record."""
    if not data or not (0x81 <= data[0] <= 0x8F or data[0] == 0xDE):
        return None
    if data.count(b"\x91") + data.count(b"\x81\xa1a") > _DEEP:
        return None
    try:
        tree = msgspec.msgpack.decode(data)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def _tree_reader(grammar: Grammar) -> Callable[[bytes], Tree]:
    def read(data: bytes) -> Tree:
        try:
            if grammar == "msgpack":
                return msgspec.msgpack.decode(data)
            return msgspec.json.decode(data) if grammar == "json" else None
        except (ValueError, RecursionError):
            return None

    return read
