import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.caching.directory import (
    FREE_RECORD,
    LOST_RECORD,
    RECORD_BYTES,
    State,
    read_directory,
    record_of,
)

NAMES = [bytes([n]) * 16 for n in range(4)]
SEED = 7
DATA = b"".join(record_of(SEED, row, name, 100 + row, 1000 + row) for row, name in enumerate(NAMES))


def test_the_record_is_what_the_docstring_says() -> None:
    fields = b"n" * 16 + (5).to_bytes(8, "little") + (6).to_bytes(4, "little")
    assert record_of(0, 0, b"n" * 16, 5, 6) == fields + zlib.crc32(fields).to_bytes(4, "little")
    assert len(FREE_RECORD) == len(LOST_RECORD) == RECORD_BYTES == 32


def test_what_was_entered_is_read() -> None:
    found = read_directory(SEED, DATA + FREE_RECORD + LOST_RECORD + b"rest")
    assert found.state.tolist() == [1, 1, 1, 1, 0, 2]
    assert found.places([NAMES[2], NAMES[0], b"other".ljust(16)]) == {NAMES[0]: 0, NAMES[2]: 2}
    assert found.used[:4].tolist() == [100, 101, 102, 103]
    assert found.check[:4].tolist() == [1000, 1001, 1002, 1003]
    assert found.rows(State.FREE, State.LOST).tolist() == [4, 5]
    assert read_directory(SEED, b"").places(NAMES) == {}


@pytest.mark.parametrize("bit", range(0, 256, 5))
def test_a_flipped_bit_loses_one_row(bit: int) -> None:
    torn = bytearray(DATA)
    torn[32 + bit // 8] ^= 1 << bit % 8
    found = read_directory(SEED, bytes(torn))
    assert found.state.tolist() == [1, State.LOST, 1, 1]
    assert NAMES[1] not in found.places(NAMES)


def test_records_of_another_tensor_or_row_are_lost() -> None:
    assert set(read_directory(SEED + 1, DATA).state) == {State.LOST}
    assert set(read_directory(SEED, DATA[32:]).state) == {State.LOST}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_directory_that_holds_nothing(data: bytes) -> None:
    found = read_directory(SEED, data)
    assert len(found.state) == len(data) // 32
    assert not len(found.rows(State.HELD))


@given(st.integers(0, 2**40), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_no_record_is_a_free_or_a_lost_one(row: int, used: int, check: int) -> None:
    assert record_of(SEED, row, NAMES[1], used, check) not in {FREE_RECORD, LOST_RECORD}
