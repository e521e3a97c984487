import hashlib
import threading

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import MisuseError, SiteError
from shared.secagg import keystream
from shared.secagg.keystream import CHUNK, CHUNK_BYTES, KeyStream
from shared.secagg.masks import MASK_LABEL, Sign, Words, add_masks, check_vector

SEEDS = [bytes([k]) * 32 for k in range(4)]
SIGNS: list[Sign] = [1, -1, -1, 1]
MASKS = list(zip(SEEDS, SIGNS, strict=True))
DTYPES = ("<u4", "<u2")


def reference_bytes(seed: bytes, label: str, length: int) -> bytes:
    """The stream's definition, written out: AES-256-CTR from zero under SHA-256(label ‖ 0 ‖ len ‖ seed)."""
    key = hashlib.sha256(label.encode() + b"\0" + (32).to_bytes(8, "big") + seed).digest()
    return Cipher(AES256(key), CTR(bytes(16))).encryptor().update(bytes(length))


def reference(seed: bytes, label: str, length: int) -> list[int]:
    data = reference_bytes(seed, label, 4 * length)
    return [int.from_bytes(data[4 * k : 4 * k + 4], "little") for k in range(length)]


def masked(vector: Words) -> Words:
    """`vector` with `MASKS`, written out in wide integers."""
    bits = 8 * vector.itemsize
    total = vector.astype(np.int64)
    for seed, sign in MASKS:
        mask = np.frombuffer(reference_bytes(seed, MASK_LABEL, vector.nbytes), vector.dtype)
        total += sign * mask.astype(np.int64)
    result: Words = (total % 2**bits).astype(vector.dtype)
    return result


@pytest.fixture(params=[True, False], ids=["gcm", "ctr"])
def gcm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to draw the stream, whichever is the faster here."""
    faster: bool = request.param
    monkeypatch.setattr(keystream, "_gcm_is_faster", lambda: faster)
    return faster


@pytest.mark.parametrize("length", [1, 3, 4, 5, 1000])
def test_the_stream_is_aes_256_ctr(length: int) -> None:
    words = np.empty(length, np.uint32)
    KeyStream(SEEDS[1], "konsil/x/v1").fill(words)
    assert words.tolist() == reference(SEEDS[1], "konsil/x/v1", length)


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from(DTYPES)), min_size=1, max_size=8))
def test_pieces_and_words_do_not_change_the_stream(sizes: list[tuple[int, str]]) -> None:
    stream = KeyStream(SEEDS[2], MASK_LABEL)
    pieces: list[Words] = [np.empty(size, dtype) for size, dtype in sizes]
    for piece in pieces:
        stream.fill(piece)
    data = b"".join(piece.tobytes() for piece in pieces)
    assert data == reference_bytes(SEEDS[2], MASK_LABEL, len(data))


@given(st.integers(0, 200), st.integers(1, 100), st.sampled_from(DTYPES))
def test_a_stream_begins_anywhere(block: int, length: int, dtype: str) -> None:
    words: Words = np.empty(length, dtype)
    KeyStream(SEEDS[3], MASK_LABEL, start=16 * block).fill(words)
    assert words.tobytes() == reference_bytes(SEEDS[3], MASK_LABEL, 16 * block + words.nbytes)[16 * block :]


@pytest.mark.parametrize("start", [0, 16, CHUNK_BYTES, 2**34 - 4 * CHUNK_BYTES])
@pytest.mark.parametrize("uneven", [0, 1, 8], ids=["even", "half a word more", "half a block more"])
@pytest.mark.usefixtures("gcm")
def test_a_long_stream_goes_on_as_aes_256_ctr(start: int, uneven: int) -> None:
    """Through the change to GCM, from the first block, the last ones and between."""
    key = hashlib.sha256(MASK_LABEL.encode() + b"\0" + (32).to_bytes(8, "big") + SEEDS[1]).digest()
    cipher = Cipher(AES256(key), CTR((start // 16).to_bytes(16, "big"))).encryptor()
    stream = KeyStream(SEEDS[1], MASK_LABEL, start=start)
    words = np.empty(CHUNK_BYTES // 2 - 8, "<u2")
    for size in (words.size, words.size, 8 + uneven, 16 - uneven, words.size):
        stream.fill(words[:size])
        assert words[:size].tobytes() == cipher.update(bytes(2 * size))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**30 - 9))
def test_gcm_draws_the_same_blocks(key: bytes, block: int) -> None:
    for first in (0, block, 2**30 - 8):
        gcm, ctr = keystream._gcm_from(key, 16 * first), keystream._ctr_from(key, 16 * first)
        assert gcm.update(bytes(128)) == ctr.update(bytes(128))


def test_the_faster_way_is_found_once() -> None:
    assert keystream._gcm_is_faster() is keystream._gcm_is_faster()


def test_labels_and_seeds_separate_streams() -> None:
    streams = {tuple(reference(seed, label, 4)) for seed in SEEDS for label in (MASK_LABEL, "konsil/dither/v1")}
    assert len(streams) == 2 * len(SEEDS)


@pytest.mark.parametrize("start", [-16, 1, 8, 15, 2**34])
def test_a_start_within_a_block_or_beyond_the_stream_is_refused(start: int) -> None:
    with pytest.raises(MisuseError, match="multiple of 16"):
        KeyStream(SEEDS[0], MASK_LABEL, start=start)


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
