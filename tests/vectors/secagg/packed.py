"""MessagePack as docs/protocol.md wants it, and digests over it: one value has one encoding.

`unpack` is stricter than a reader must be: whatever is not exactly what `pack` writes is refused.
"""

import hashlib
import struct
from typing import Any


class Refused(Exception):  # noqa: N818 - named for what happened
    """What the other side sent is not what the protocol says."""


def pack(value: Any) -> bytes:  # noqa: PLR0911 - one line for each kind of value
    """None, bool, int, float, str, bytes, list and dict, each in its shortest form."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _integer(value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            head = bytes([0xA0 | len(data)]) if len(data) < 32 else _length(len(data), 0xD9, 0xDA, 0xDB)
            return head + data
        case bytes():
            return _length(len(value), 0xC4, 0xC5, 0xC6) + value
        case list() | tuple():
            head = bytes([0x90 | len(value)]) if len(value) < 16 else _length(len(value), None, 0xDC, 0xDD)
            return head + b"".join(map(pack, value))
        case dict():
            head = bytes([0x80 | len(value)]) if len(value) < 16 else _length(len(value), None, 0xDE, 0xDF)
            return head + b"".join(pack(key) + pack(item) for key, item in value.items())
    raise TypeError(f"{type(value)} has no encoding")


def unpack(data: bytes) -> Any:
    """The value that `pack` writes as `data`."""
    value, end = _read(data, 0, 0)
    if end != len(data) or pack(value) != data:
        raise Refused("not the one encoding of a value")
    return value


def digest(label: str, *parts: bytes) -> bytes:
    """SHA-256 over the label and the parts, each behind its length."""
    state = hashlib.sha256(label.encode() + b"\0")
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()


def _integer(value: int) -> bytes:
    if 0 <= value < 128 or -32 <= value < 0:
        return struct.pack(">b", value)
    heads = (0xCC, 0xCD, 0xCE, 0xCF) if value > 0 else (0xD0, 0xD1, 0xD2, 0xD3)
    for size, head in zip((1, 2, 4, 8), heads, strict=True):
        if (0 if value > 0 else -(1 << (8 * size - 1))) <= value < 1 << (8 * size):
            return bytes([head]) + value.to_bytes(size, "big", signed=value < 0)
    raise TypeError("more than 64 bits have no encoding")


def _length(length: int, one: int | None, two: int, four: int) -> bytes:
    if length < 256 and one is not None:
        return bytes([one, length])
    return struct.pack(">BH", two, length) if length < 65536 else struct.pack(">BI", four, length)


#: first byte → (kind, bytes of its length or value)
_HEADS = {0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4)}
_HEADS |= {0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)}
_HEADS |= {0xCC + n: ("uint", 1 << n) for n in range(4)} | {0xD0 + n: ("int", 1 << n) for n in range(4)}


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise Refused("ends too early")
    return data[at : at + size]


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > 32:
        raise Refused("nested too deep")
    first = _take(data, at, 1)[0]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first == 0xCB:
        return struct.unpack(">d", _take(data, at, 8))[0], at + 8
    if first < 0xC0:
        kind = "map" if first < 0x90 else "array" if first < 0xA0 else "str"
        size = first & (0x1F if kind == "str" else 0x0F)
    elif first in _HEADS:
        kind, width = _HEADS[first]
        size = int.from_bytes(_take(data, at, width), "big", signed=kind == "int")
        at += width
    else:
        raise Refused(f"no value starts with {first:#x}")
    return _body(data, at, kind, size, depth)


def _body(data: bytes, at: int, kind: str, size: int, depth: int) -> tuple[Any, int]:
    if kind in ("int", "uint"):
        return size, at
    if kind in ("str", "bin"):
        raw = _take(data, at, size)
        try:
            return (raw if kind == "bin" else raw.decode()), at + size
        except UnicodeDecodeError:
            raise Refused("text that is no UTF-8") from None
    items = []
    for _ in range(size * (2 if kind == "map" else 1)):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    if kind == "array":
        return items, at
    keys = items[::2]
    if not all(isinstance(key, str) for key in keys):
        raise Refused("a field without a name")
    return dict(zip(keys, items[1::2], strict=True)), at
