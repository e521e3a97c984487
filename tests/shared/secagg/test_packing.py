import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MisuseError, PeerError
from shared.secagg import packing
from shared.secagg.masks import Words
from shared.secagg.packing import PACKED_BITS, WIDTHS, add_packed, pack_words, packed_size, unpack_words

PIECE = packing._PIECE


def array(values: list[int], bits: int) -> Words:
    return np.array(values, np.uint32) if bits == 32 else np.array(values, np.uint16)


def vector(count: int, bits: int, seed: int = 0) -> Words:
    words = np.random.default_rng(seed).integers(0, 2**bits, count, np.uint32)
    return words if bits == 32 else words.astype(np.uint16)


def reference(words: Words, bits: int) -> bytes:
    """The layout's definition: one long integer with word w at bit w × bits."""
    number: int = sum(word << (place * bits) for place, word in enumerate(words.tolist()))
    return number.to_bytes(-(-len(words) * bits // 8), "little")


@pytest.mark.parametrize("bits", WIDTHS)
def test_every_length_is_packed_to_the_bit_and_comes_back(bits: int) -> None:
    for count in range(201):
        words = vector(count, bits, count)
        data = pack_words(words, bits)
        assert len(data) == packed_size(count, bits)
        assert bytes(data) == reference(words, bits)
        back = unpack_words(data, count, bits)
        assert back.dtype == words.dtype
        assert back.tolist() == words.tolist()


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("count", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 9])
def test_lengths_around_a_piece_come_back(bits: int, count: int) -> None:
    words = vector(count, bits)
    data = bytes(pack_words(words, bits))
    assert len(data) == packed_size(count, bits)
    assert (unpack_words(data, count, bits) == words).all()
    total = words.copy()
    add_packed(total, data, bits)
    assert (total == words + words).all()


@given(st.sampled_from(WIDTHS), st.data())
def test_any_words_come_back(bits: int, draw: st.DataObject) -> None:
    values = draw.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    encoded = bytes(pack_words(array(values, bits), bits))
    assert unpack_words(encoded, len(values), bits).tolist() == values


@given(st.sampled_from(PACKED_BITS), st.binary(max_size=60), st.integers(0, 40))
def test_bytes_are_the_one_encoding_of_words_or_refused(bits: int, data: bytes, count: int) -> None:
    number = int.from_bytes(data, "little")
    if len(data) == packed_size(count, bits) and number < 2 ** (count * bits):
        assert bytes(pack_words(unpack_words(data, count, bits), bits)) == data
    else:
        with pytest.raises(PeerError, match=f"vector of {count} words of {bits} bits"):
            unpack_words(data, count, bits)


def test_sizes() -> None:
    assert [packed_size(8, bits) for bits in WIDTHS] == [10, 11, 12, 13, 14, 15, 16, 32]
    assert [packed_size(count, 11) for count in range(5)] == [0, 2, 3, 5, 6]
    assert packed_size(10_000_003, 13) == 16_250_005  # 130 000 039 bits


@pytest.mark.parametrize("bits", [0, 9, 17, 31, 33])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(MisuseError, match="bits per word"):
        packed_size(1, bits)
    with pytest.raises(MisuseError, match="bits per word"):
        pack_words(vector(3, 16), bits)
    with pytest.raises(MisuseError, match="count of 0 or more"):
        packed_size(-1, 16)


def test_bits_above_the_width_are_dropped() -> None:
    words = np.array([0xFFFF, 0, 0xFC01], np.uint16)
    assert unpack_words(pack_words(words, 10), 3, 10).tolist() == [1023, 0, 1]
    assert words.tolist() == [0xFFFF, 0, 0xFC01]


@pytest.mark.parametrize("bits", [16, 32])
def test_whole_words_are_views(bits: int) -> None:
    words = vector(5, bits)
    data = pack_words(words, bits)
    assert (data.format, data.itemsize) == ("B", 1)
    words[0] = 7
    assert data[0] == 7
    back = unpack_words(data, 5, bits)
    assert np.shares_memory(words, back)


def test_a_view_inside_a_message_is_read() -> None:
    for bits in WIDTHS:
        words = vector(21, bits)
        data = memoryview(b"head" + b"x" + bytes(pack_words(words, bits)) + b"tail")[5:-4]
        assert (unpack_words(data, 21, bits) == words).all()
        total = np.zeros(21, words.dtype)
        add_packed(total, data, bits)
        assert (total == words).all()


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("wrong", [-1, 1, 3])
def test_a_wrong_length_changes_nothing(bits: int, wrong: int) -> None:
    size = packed_size(20, bits)
    total = vector(20, bits)
    before = total.copy()
    with pytest.raises(PeerError, match=f"expected {size} bytes, got {size + wrong} bytes"):
        add_packed(total, bytes(size + wrong), bits)
    assert (total == before).all()
    with pytest.raises(PeerError, match="vector of 20 words"):
        unpack_words(bytes(size + wrong), 20, bits)


@pytest.mark.parametrize("bit", [5, 6, 7])
def test_a_set_padding_bit_changes_nothing(bit: int) -> None:
    data = bytearray(packed_size(7, 11))  # 77 bits: the last byte uses 5
    data[-1] = 1 << bit
    total = np.arange(7, dtype=np.uint16)
    with pytest.raises(PeerError, match="zeros in the last 3 bits"):
        add_packed(total, memoryview(data), 11)
    assert total.tolist() == list(range(7))
    with pytest.raises(PeerError, match="zeros in the last 3 bits"):
        unpack_words(bytes(data), 7, 11)


@pytest.mark.parametrize("bits", WIDTHS)
def test_sums_wrap_in_the_dtype_of_the_total(bits: int) -> None:
    data = pack_words(array([2**bits - 1] * 9, bits), bits)
    for width in (16, 32) if bits < 32 else (32,):
        total = array([2**width - 1] * 9, width)
        add_packed(total, data, bits)
        assert total.tolist() == [2**bits - 2] * 9


def test_a_sum_below_sixteen_bits_is_its_low_bits() -> None:
    total = np.zeros(11, np.uint16)
    vectors = [vector(11, 12, seed) for seed in range(200)]
    for words in vectors:
        add_packed(total, pack_words(words, 12), 12)
    assert (total % 2**12 == np.sum(vectors, axis=0, dtype=np.int64) % 2**12).all()


def test_arrays_that_cannot_be_worked_on_are_refused() -> None:
    for words in (np.zeros(4, np.int64), np.zeros((2, 2), np.uint16), np.zeros(8, np.uint16)[::2], vector(4, 32)):
        with pytest.raises(MisuseError, match="words"):
            pack_words(words, 12)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="words"):
        pack_words(vector(4, 16), 32)
    frozen = np.zeros(4, np.uint16)
    frozen.flags.writeable = False
    for total in (np.zeros(4, np.int16), np.zeros((2, 2), np.uint16), frozen):
        with pytest.raises(MisuseError, match="total"):
            add_packed(total, bytes(8), 16)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="at least 32 bits"):
        add_packed(vector(4, 16), bytes(16), 32)


@pytest.mark.parametrize("bits", [11, 16])
def test_adding_takes_no_second_vector(bits: int) -> None:
    """1 M words: 2 MB of vector, under 0.8 MB of extra memory."""
    words = vector(1_000_000, bits)
    total = np.zeros_like(words)
    tracemalloc.start()
    data = pack_words(words, bits)
    packed = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    held = tracemalloc.get_traced_memory()[0]
    add_packed(total, data, bits)
    added = tracemalloc.get_traced_memory()[1] - held
    tracemalloc.stop()
    assert (total == words).all()
    assert packed <= (len(data) if bits < 16 else 0) + 800_000
    assert added <= 800_000
