import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MisuseError
from shared.quantize import DITHER_LABEL
from shared.secagg import keystream
from shared.secagg.keystream import CHUNK_BYTES, KeyStream
from shared.secagg.masks import COUNT_LABEL, MASK_LABEL, Words
from tests.shared.secagg.streams import DTYPES, SEEDS, reference_bytes, reference_key

LABELS = (MASK_LABEL, COUNT_LABEL, DITHER_LABEL)


def reference(seed: bytes, label: str, length: int) -> list[int]:
    data = reference_bytes(seed, label, 4 * length)
    return [int.from_bytes(data[4 * k : 4 * k + 4], "little") for k in range(length)]


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
    key = reference_key(SEEDS[1], MASK_LABEL)
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
    streams = {tuple(reference(seed, label, 4)) for seed in SEEDS for label in LABELS}
    assert len(streams) == 3 * len(SEEDS)


@pytest.mark.parametrize("start", [-16, 1, 8, 15, 2**34])
def test_a_start_within_a_block_or_beyond_the_stream_is_refused(start: int) -> None:
    with pytest.raises(MisuseError, match="multiple of 16"):
        KeyStream(SEEDS[0], MASK_LABEL, start=start)
