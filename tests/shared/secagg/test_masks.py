import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MisuseError
from shared.secagg.keystream import CHUNK, KeyStream
from shared.secagg.masks import MASK_LABEL, Sign, add_masks

SEEDS = [bytes([k]) * 32 for k in range(4)]


def reference(seed: bytes, label: str, length: int) -> list[int]:
    """The stream's definition, written out: AES-256-CTR from zero under SHA-256(label ‖ 0 ‖ len ‖ seed)."""
    key = hashlib.sha256(label.encode() + b"\0" + (32).to_bytes(8, "big") + seed).digest()
    data = Cipher(AES256(key), CTR(bytes(16))).encryptor().update(bytes(4 * length))
    return [int.from_bytes(data[4 * k : 4 * k + 4], "little") for k in range(length)]


@pytest.mark.parametrize("length", [1, 3, 4, 5, 1000])
def test_the_stream_is_aes_256_ctr(length: int) -> None:
    words = np.empty(length, np.uint32)
    KeyStream(SEEDS[1], "konsil/x/v1").fill(words)
    assert words.tolist() == reference(SEEDS[1], "konsil/x/v1", length)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_pieces_do_not_change_the_stream(sizes: list[int]) -> None:
    stream = KeyStream(SEEDS[2], MASK_LABEL)
    pieces = [np.empty(size, np.uint32) for size in sizes]
    for piece in pieces:
        stream.fill(piece)
    assert np.concatenate(pieces).tolist() == reference(SEEDS[2], MASK_LABEL, sum(sizes))


def test_labels_and_seeds_separate_streams() -> None:
    streams = {tuple(reference(seed, label, 4)) for seed in SEEDS for label in (MASK_LABEL, "konsil/dither/v1")}
    assert len(streams) == 2 * len(SEEDS)


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_masks_are_added_wrapping_with_their_signs(length: int) -> None:
    vector = np.arange(length, dtype=np.uint32)
    signs: list[Sign] = [1, -1, -1, 1]
    add_masks(vector, list(zip(SEEDS, signs, strict=True)))
    expected = np.arange(length, dtype=np.int64)
    for seed, sign in zip(SEEDS, signs, strict=True):
        expected += sign * np.array(reference(seed, MASK_LABEL, length), np.int64)
    assert (vector == (expected % 2**32).astype(np.uint32)).all()


def test_opposite_signs_give_the_vector_back() -> None:
    vector = np.full(CHUNK + 1, 2**32 - 1, np.uint32)
    add_masks(vector, [(seed, 1) for seed in SEEDS])
    assert (vector != 2**32 - 1).any()
    add_masks(vector, [(seed, -1) for seed in SEEDS])
    assert (vector == 2**32 - 1).all()


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seeds_of_another_length_are_refused(seed: bytes) -> None:
    vector = np.zeros(3, np.uint32)
    with pytest.raises(MisuseError, match="32 bytes"):
        add_masks(vector, [(SEEDS[0], 1), (seed, 1)])
    assert vector.tolist() == [0, 0, 0]


def test_vectors_that_cannot_be_masked_in_place_are_refused() -> None:
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    for vector in (np.zeros(4, np.int64), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2], frozen):
        with pytest.raises(MisuseError, match="vector"):
            add_masks(vector, [(SEEDS[0], 1)])  # type: ignore[arg-type]
