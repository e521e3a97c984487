import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import MisuseError, SiteError
from shared.secagg.keystream import CHUNK, CHUNK_BYTES
from shared.secagg.masks import COUNT_LABEL, MASK_LABEL, Counts, Sign, Words, add_count_masks, add_masks, check_vector
from tests.shared.secagg.streams import DTYPES, SEEDS, reference_bytes

SIGNS: list[Sign] = [1, -1, -1, 1]
MASKS = list(zip(SEEDS, SIGNS, strict=True))


def masked(vector: Words) -> Words:
    """`vector` with `MASKS`, written out in wide integers."""
    bits = 8 * vector.itemsize
    total = vector.astype(np.int64)
    for seed, sign in MASKS:
        mask = np.frombuffer(reference_bytes(seed, MASK_LABEL, vector.nbytes), vector.dtype)
        total += sign * mask.astype(np.int64)
    result: Words = (total % 2**bits).astype(vector.dtype)
    return result


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3, 4 * CHUNK + 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("gcm")
def test_masks_are_added_wrapping_with_their_signs(length: int, dtype: str) -> None:
    vector: Words = np.arange(length).astype(dtype)
    expected = masked(vector)
    add_masks(vector, MASKS)
    assert (vector == expected).all()


def near_edges(dtype: str) -> st.SearchStrategy[int]:
    """Lengths close to a whole number of chunks."""
    chunk = CHUNK_BYTES // np.dtype(dtype).itemsize
    return st.builds(lambda chunks, more: max(chunks * chunk + more, 0), st.integers(0, 5), st.integers(-9, 9))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 4))
def test_fused_and_threaded_is_the_same_as_one_after_the_other(data: st.DataObject, dtype: str, threads: int) -> None:
    length = data.draw(near_edges(dtype))
    plain: Words = np.random.default_rng(length).integers(0, 2**16, length).astype(dtype)
    expected = plain.copy()
    add_masks(expected, MASKS)
    lock, written = threading.Lock(), np.zeros(length, np.int64)

    def fill(start: int, piece: Words) -> None:
        piece[:] = plain[start : start + piece.size]
        with lock:
            written[start : start + piece.size] += 1

    vector: Words = np.full(length, 7, dtype)
    add_masks(vector, MASKS, fill=fill, threads=threads)
    assert (vector == expected).all()
    assert (written == 1).all()
    unfused = plain.copy()
    add_masks(unfused, MASKS, threads=threads)
    assert (unfused == expected).all()


def test_without_masks_a_fill_is_all() -> None:
    vector = np.zeros(5, np.uint32)
    add_masks(vector, [], fill=lambda start, piece: np.copyto(piece, start + 3))
    assert vector.tolist() == [3] * 5


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bad", [0, 3])
def test_what_a_fill_raises_is_raised(threads: int, bad: int) -> None:
    def fill(start: int, piece: Words) -> None:
        piece[:] = 0
        if start == bad * CHUNK:
            raise SiteError("update", expected="finite numbers", got="one that is not")

    with pytest.raises(SiteError, match="finite numbers"):
        add_masks(np.zeros(4 * CHUNK, np.uint32), MASKS, fill=fill, threads=threads)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_vector(threads: int) -> None:
    names = set()

    def fill(start: int, piece: Words) -> None:
        names.add(threading.get_ident())
        meet.wait()

    meet = threading.Barrier(threads, timeout=60)  # passed only if that many run side by side
    add_masks(np.zeros(threads * CHUNK, np.uint32), MASKS, fill=fill, threads=threads)
    assert len(names) == threads


@pytest.mark.parametrize("dtype", DTYPES)
def test_opposite_signs_give_the_vector_back(dtype: str) -> None:
    vector: Words = np.full(CHUNK + 1, -1).astype(dtype)
    before = vector.copy()
    add_masks(vector, [(seed, 1) for seed in SEEDS])
    assert (vector != before).any()
    add_masks(vector, [(seed, -1) for seed in SEEDS], threads=2)
    assert (vector == before).all()


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seeds_of_another_length_are_refused(seed: bytes) -> None:
    for size in (0, 3, 2 * CHUNK):
        vector = np.zeros(size, np.uint32)
        with pytest.raises(MisuseError, match="32 bytes"):
            add_masks(vector, [(SEEDS[0], 1), (seed, 1)], threads=2)
        assert not vector.any()


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(MisuseError, match="threads"):
        add_masks(np.zeros(3, np.uint32), MASKS, threads=threads)


def test_vectors_that_cannot_be_masked_in_place_are_refused() -> None:
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    for vector in (np.zeros(4, np.int64), np.zeros(4, np.int16), np.zeros((2, 2), np.uint32), np.zeros(8, "<u2")[::2]):
        with pytest.raises(MisuseError, match="vector"):
            add_masks(vector, [(SEEDS[0], 1)])  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="vector"):
        add_masks(frozen, [(SEEDS[0], 1)])


def test_a_vector_of_another_length_is_refused() -> None:
    for dtype in DTYPES:
        vector: Words = np.zeros(4, dtype)
        check_vector(vector, 4)
        with pytest.raises(MisuseError, match=r"uint32 or uint16 \[5\]"):
            check_vector(vector, 5)


# counts


def counts_of(*values: int) -> Counts:
    return np.array(values, "<u8")


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=9))
def test_counts_are_masked_mod_2_to_the_64_with_their_signs(values: list[int]) -> None:
    """Written out in Python's integers: eight bytes each of the count stream, lowest first."""
    counts = counts_of(*values)
    add_count_masks(counts, MASKS)
    streams = [(reference_bytes(seed, COUNT_LABEL, 8 * len(values)), sign) for seed, sign in MASKS]
    for k, value in enumerate(values):
        masks = sum(sign * int.from_bytes(data[8 * k : 8 * k + 8], "little") for data, sign in streams)
        assert int(counts[k]) == (value + masks) % 2**64


@pytest.mark.parametrize("length", [CHUNK_BYTES // 8 - 1, CHUNK_BYTES // 8, CHUNK_BYTES // 8 + 1, 3 * CHUNK_BYTES // 8])
@pytest.mark.usefixtures("gcm")
def test_counts_longer_than_a_chunk_are_masked_by_one_stream(length: int) -> None:
    counts = np.zeros(length, "<u8")
    add_count_masks(counts, MASKS[:1])
    assert counts.tobytes() == reference_bytes(SEEDS[0], COUNT_LABEL, 8 * length)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_opposite_signs_give_the_counts_back(values: list[int]) -> None:
    counts = counts_of(*values)
    add_count_masks(counts, [(seed, 1) for seed in SEEDS])
    add_count_masks(counts, [(seed, -1) for seed in SEEDS])
    assert counts.tolist() == values


@given(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3))
def test_what_is_added_to_counts_does_not_depend_on_them(values: list[int]) -> None:
    """So behind a uniform mask all values look alike."""
    counts, zeros = counts_of(*values), counts_of(0, 0, 0)
    add_count_masks(counts, MASKS)
    add_count_masks(zeros, MASKS)
    assert (counts - zeros).tolist() == values


@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_and_words_of_one_seed_have_streams_of_their_own(dtype: str) -> None:
    """Else a word known, as at the edge of a clipped update, would tell a part of a count."""
    counts: Counts = np.zeros(4096, "<u8")
    words: Words = np.zeros(counts.nbytes // np.dtype(dtype).itemsize, dtype)
    add_count_masks(counts, MASKS[:1])
    add_masks(words, MASKS[:1])
    assert not set(counts.tolist()) & set(words.view("<u8").tolist())


def test_counts_of_two_hundred_sites_at_the_edges_are_exact() -> None:
    """Every pair of sites shares a mask and each has one of its own, which is taken off at the end."""
    sites, random = 200, np.random.default_rng(0)
    own = [random.bytes(32) for _ in range(sites)]
    pairs = {(i, j): random.bytes(32) for i in range(sites) for j in range(i)}
    most = 2**48 - 1
    total = counts_of(0, 0, 0, 0)
    for k in range(sites):
        masks: list[tuple[bytes, Sign]] = [(own[k], 1)]
        masks += [(pairs[max(k, j), min(k, j)], 1 if j > k else -1) for j in range(sites) if j != k]
        counts = counts_of(1, most, 0, k)
        add_count_masks(counts, masks)
        total += counts
    add_count_masks(total, [(seed, -1) for seed in own])
    assert total.tolist() == [sites, sites * most, 0, sites * (sites - 1) // 2]


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seeds_of_another_length_do_not_mask_counts(seed: bytes) -> None:
    counts = counts_of(1, 2)
    with pytest.raises(MisuseError, match="32 bytes"):
        add_count_masks(counts, [(seed, 1)])
    assert counts.tolist() == [1, 2]
