import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PeerError
from shared.wire import Record, digest, pack, read_json, unpack


class Inner(Record, frozen=True):
    data: bytes


class Outer(Record, frozen=True):
    number: int
    inner: tuple[Inner, ...]
    note: str = ""


VALUE = Outer(number=3, inner=(Inner(data=b"a"), Inner(data=b"")))


def test_round_trip() -> None:
    assert unpack(Outer, pack(VALUE)) == VALUE


def test_unknown_and_missing_fields_are_refused() -> None:
    class Longer(Record, frozen=True):
        number: int
        inner: tuple[Inner, ...]
        extra: int

    with pytest.raises(PeerError, match="extra"):
        unpack(Outer, pack(Longer(number=1, inner=(), extra=2)))
    with pytest.raises(PeerError, match="data"):
        unpack(Inner, b"\x80")


def test_nothing_is_coerced() -> None:
    class Text(Record, frozen=True):
        data: str

    with pytest.raises(PeerError, match="data"):
        unpack(Inner, pack(Text(data="a")))


def test_trailing_bytes_and_oversize_are_refused() -> None:
    with pytest.raises(PeerError):
        unpack(Outer, pack(VALUE) + b"\x00")
    with pytest.raises(PeerError, match="at most 4 bytes"):
        unpack(Outer, pack(VALUE), limit=4)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_clear_error(data: bytes) -> None:
    try:
        unpack(Outer, data)
    except PeerError as error:
        assert "Outer" in str(error)


def test_digest_separates_labels_and_parts() -> None:
    found = {
        digest("konsil/a/v1", b"xy"),
        digest("konsil/b/v1", b"xy"),
        digest("konsil/a/v1", b"x", b"y"),
        digest("konsil/a/v1", b"", b"xy"),
        digest("konsil/a/v1", VALUE),
    }
    assert len(found) == 5
    assert digest("konsil/a/v1", VALUE) == digest("konsil/a/v1", pack(VALUE))


@pytest.mark.parametrize(
    "data",
    [
        b'{"note":"\xff"}',
        b'{"number":99999999999999999999}',
        b'{"number":1,"inner":[],"note":1}',
        b"",
        b'{"x":' + b"[" * 9000 + b"]" * 9000 + b"}",
    ],
)
def test_whatever_is_wrong_with_json_is_one_error(data: bytes) -> None:
    class Loose(Record, frozen=True, forbid_unknown_fields=False):
        number: int = 0
        note: str = ""

    with pytest.raises(msgspec.DecodeError):
        read_json(data, Loose)
    assert read_json(b'{"number":3}', Loose) == Loose(number=3)
