"""Bytes ↔ frozen records, for everything that crosses a process or is signed.

Guarantees: one value has one encoding (MessagePack, fields in the order of the class), so it can be digested
and signed; decoding admits only the fields and types the class declares, within `limit` bytes, and calls
nothing that the data names.

    >>> class Point(Record, frozen=True):
    ...     x: int
    >>> unpack(Point, pack(Point(x=3)))
    Point(x=3)
"""

import hashlib
from typing import TypeVar

import msgspec

from shared.errors import PeerError

R = TypeVar("R", bound="Record")
T = TypeVar("T")

#: No message of a study is larger: 4 bytes × 250 M parameters and the bundles beside them.
LIMIT = 1 << 30

_encoder = msgspec.msgpack.Encoder()


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every wire message and study section: frozen, closed, strictly typed.

    Subclasses repeat `frozen=True`: type checkers do not inherit it.
    """


def pack(value: Record) -> bytes:
    """The one encoding of `value`."""
    return _encoder.encode(value)


def unpack(cls: type[R], data: bytes | memoryview, *, limit: int = LIMIT) -> R:
    """Decode `data` as a `cls`; anything else in it is a PeerError that names the first wrong field.

    Fields of type `memoryview` stay views of `data`: a 40 MB vector is not copied.
    """
    if len(data) > limit:
        raise PeerError(f"{cls.__name__} message", expected=f"at most {limit} bytes", got=f"{len(data)} bytes")
    try:
        return msgspec.msgpack.decode(data, type=cls)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(
            f"{cls.__name__} message", expected="its declared fields", got=f"{len(data)} bytes: {error}"
        ) from None


def read_json(data: bytes, kind: type[T]) -> T:
    """JSON as a `kind`. Whatever is wrong with it, text that is no UTF-8, nesting without end and numbers that `pack`
    cannot hold too, is one error: msgspec.DecodeError, which the caller turns into ours."""
    try:
        found = msgspec.json.decode(data, type=kind)
        _encoder.encode(found)
    except (UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise msgspec.DecodeError(str(error)) from None
    return found


def digest(label: str, *parts: Record | bytes | memoryview) -> bytes:
    """SHA-256 over `parts`, each with its length before it, separated by `label` ("konsil/<step>/v1"). 32 bytes."""
    state = hashlib.sha256(label.encode() + b"\0")
    for part in parts:
        data = pack(part) if isinstance(part, Record) else part
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()
