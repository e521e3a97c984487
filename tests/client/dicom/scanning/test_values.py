import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.scanning.values import decimal, decimals, double, integer, text, texts, unsigned, unsigned_long, year


@pytest.mark.parametrize(
    ("value", "count", "numbers"),
    [
        (b"0.5\\0.25", 2, (0.5, 0.25)),
        (b" 1 \\-2e1\\3. ", 3, (1.0, -20.0, 3.0)),
        (b"0.70710678118654757\\0.70710678118654757", 2, (0.70710678118654757, 0.70710678118654757)),  # over-long
        (b"1\\2\0", 2, (1.0, 2.0)),
        (b"", 2, None),
        (b"  ", 1, None),
        (b"1", 2, None),
        (b"1\\2\\3", 2, None),
        (b"1\\", 2, None),
        (b"1\\nan", 2, None),
        (b"inf\\1", 2, None),
        (b"1,5\\2", 2, None),
        (b"1_0\\2", 2, None),
        (b"1" * 400 + b"\\2", 2, None),
        (b"\xff\\2", 2, None),
    ],
)
def test_decimals(value: bytes, count: int, numbers: tuple[float, ...] | None) -> None:
    assert decimals(value, count) == numbers


@pytest.mark.parametrize(
    ("value", "number"),
    [(b"7 ", 7), (b"+7\\8", 7), (b"-3", -3), (b"5.0", 5), (b"5.5", None), (b"", None), (b"x", None), (b"9" * 60, None)],
)
def test_integer(value: bytes, number: int | None) -> None:
    assert integer(value) == number


def test_binary_numbers_in_both_orders() -> None:
    assert (unsigned(b"\x01\x02", "little"), unsigned(b"\x01\x02", "big"), unsigned(b"", "big")) == (513, 258, 0)
    assert unsigned(b"\x01\x00\x05\x00", "little") == 1
    assert (unsigned_long(b"\x02\0\0\0", "little"), unsigned_long(b"\x02", "little")) == (2, None)
    assert double(b"\0\0\0\0\0\0\xf0\x3f", "little") == double(b"\x3f\xf0\0\0\0\0\0\0", "big") == 1.0
    assert double(b"\0\0\0\0\0\0\xf8\x7f", "little") is None  # not a number
    assert double(b"\0\0", "little") is None


def test_texts_lose_their_padding() -> None:
    assert text(b" DX \0") == "DX"
    assert text(b"M\xc3\xbcller\xff") == "M\u00fcller\ufffd"
    assert texts(b"ORIGINAL\\ PRIMARY \\AXIAL ") == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert texts(b"") == ("",)


@pytest.mark.parametrize(("value", "found"), [(b"20240131", 2024), (b"1999.12.31", 1999), (b"", 0), (b"20", 0)])
def test_year(value: bytes, found: int) -> None:
    assert year(value) == found


@given(st.binary(max_size=80))
def test_no_bytes_raise(value: bytes) -> None:
    decimal(value), integer(value), text(value), year(value)
    decimals(value, 3), double(value, "big"), unsigned_long(value, "little")
