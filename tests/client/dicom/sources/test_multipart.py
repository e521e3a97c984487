"""Multipart answers: the same parts however they arrive, and never half of one."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.sources.multipart import LONGEST_HEAD, BrokenError, boundary_of, parts

BOUNDARY = b"XyZ"


def message(contents: list[bytes], head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    body = b"".join(b"\r\n--XyZ\r\n" + head + b"\r\n" + content for content in contents)
    return body[2:] + b"\r\n--XyZ--\r\nepilogue"


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[first : first + size] for first in range(0, len(data), size))


def read(data: bytes, size: int = 7) -> list[bytes]:
    return [b"".join(part) for part in parts(cut(data, size), BOUNDARY)]


#: Contents made of what could be mistaken for a delimiter.
tricky = st.lists(st.lists(st.sampled_from([b"\r\n", b"--", b"XyZ", b"\r", b"\r\n--Xy", b"a", b"\0"])).map(b"".join))


@given(tricky, st.integers(1, 40))
def test_parts_are_the_same_however_they_arrive(contents: list[bytes], size: int) -> None:
    contents = [content for content in contents if b"\r\n--XyZ" not in b"\r\n" + content]
    if contents:
        assert read(message(contents), size) == contents


@given(tricky, st.integers(1, 40), st.data())
def test_no_cut_goes_unnoticed(contents: list[bytes], size: int, data: st.DataObject) -> None:
    contents = [content for content in contents if b"\r\n--XyZ" not in b"\r\n" + content]
    whole = message(contents or [b"x"])
    end = whole.index(b"\r\n--XyZ--") + len(b"\r\n--XyZ--")
    with pytest.raises(BrokenError):
        read(whole[: data.draw(st.integers(0, end - 1))], size)


def test_a_part_that_is_not_read_is_passed_over() -> None:
    found = [next(part, b"") for part in parts(cut(message([b"a" * 100, b"b" * 100]), 10), BOUNDARY)]
    assert [one[:1] for one in found] == [b"a", b"b"]


def test_a_preamble_and_parts_without_header_fields() -> None:
    assert read(b"preamble\r\n" + message([b"one", b"two"], head=b"")) == [b"one", b"two"]


def test_chunks_come_while_they_arrive() -> None:
    """A part is never whole in memory: its first bytes are given out before its last have come."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b"--XyZ\r\n\r\n"
        while True:
            sent += 1
            yield bytes(1000)

    part = next(parts(endless(), BOUNDARY))
    assert sum(len(next(part)) for _ in range(50)) > 40_000
    assert sent < 60


def test_a_head_without_end_is_no_head() -> None:
    with pytest.raises(BrokenError):
        read(b"--XyZ\r\n" + b"X-Long: " + b"x" * (LONGEST_HEAD + 10), 1 << 14)


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ('Multipart/Related;boundary="a b=c"', b"a b=c"),
        ("multipart/related; boundary=abc; start=x", b"abc"),
    ],
)
def test_the_boundary(kind: str, boundary: bytes) -> None:
    assert boundary_of(kind) == boundary


@pytest.mark.parametrize(
    "kind",
    ["", "text/html", "multipart/related", "multipart/mixed; boundary=a", "multipart/related; boundary=" + "a" * 71,
     "multipart/related; boundary=\xe9"],
)  # fmt: skip
def test_no_boundary(kind: str) -> None:
    with pytest.raises(BrokenError):
        boundary_of(kind)
