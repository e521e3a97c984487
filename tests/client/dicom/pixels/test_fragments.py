import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.pixels.fragments import frame_of

DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def pixel_data(frames: list[list[bytes]], *, table: bool = True, delimiter: bytes = DELIMITER) -> bytes:
    """Encapsulated `frames`, each of some fragments, with or without a basic offset table."""
    offsets, place = [], 0
    for fragments in frames:
        offsets.append(place)
        place += sum(8 + len(fragment) for fragment in fragments)
    first = item(struct.pack(f"<{len(offsets)}I", *offsets)) if table else item(b"")
    return first + b"".join(item(fragment) for fragments in frames for fragment in fragments) + delimiter


TWO = [[b"ab", b"cd"], [b"efgh"]]


def test_by_the_basic_offset_table() -> None:
    assert frame_of(pixel_data(TWO), 2, 0) == b"abcd"
    assert frame_of(pixel_data(TWO), 2, 1) == b"efgh"


def test_without_a_table_fragments_are_counted() -> None:
    data = pixel_data([[b"ab"], [b"cd"]], table=False)
    assert [frame_of(data, 2, index) for index in (0, 1)] == [b"ab", b"cd"]
    assert frame_of(pixel_data([[b"ab", b"cd", b"ef"]], table=False), 1, 0) == b"abcdef"


def test_frames_of_several_fragments_end_at_a_marker() -> None:
    data = pixel_data([[b"ab", b"c\xff\xd9\0"], [b"ef\xff\xd9"]], table=False)
    assert [frame_of(data, 2, index) for index in (0, 1)] == [b"abc\xff\xd9\0", b"ef\xff\xd9"]
    with pytest.raises(ValueError, match="frame"):
        frame_of(data, 4, 2)


def test_by_the_extended_offset_table() -> None:
    data = pixel_data([[b"ab"], [b"cdef"]], table=False)
    extended = (struct.pack("<2Q", 0, 10), struct.pack("<2Q", 2, 4))
    assert [frame_of(data, 2, index, extended) for index in (0, 1)] == [b"ab", b"cdef"]


@pytest.mark.parametrize("extended", [(b"", b""), (struct.pack("<2Q", 0, 1 << 40), struct.pack("<2Q", 2, 4))])
def test_a_table_that_is_wrong_is_not_believed(extended: tuple[bytes, bytes]) -> None:
    data = pixel_data([[b"ab"], [b"cdef"]], table=False)
    assert frame_of(data, 2, 1, extended) == b"cdef"
    wrong = item(struct.pack("<2I", 0, 3)) + data[8:]
    assert frame_of(wrong, 2, 1) == b"cdef"


def test_the_delimiter_may_be_missing_but_no_fragment_may_be_cut() -> None:
    data = pixel_data([[b"ab"], [b"cdef"]], delimiter=b"")
    assert frame_of(data, 2, 1) == b"cdef"
    with pytest.raises(ValueError, match="fragment"):
        frame_of(data[:-1], 2, 1)


@given(st.binary(max_size=80), st.integers(1, 5), st.booleans())
def test_any_bytes_are_a_frame_or_a_value_error(tail: bytes, frames: int, whole: bool) -> None:
    data = pixel_data(TWO) + tail if whole else item(tail)[: len(tail)] + tail
    with contextlib.suppress(ValueError):
        assert isinstance(frame_of(data, frames, frames - 1), bytes)
