import copy
import json
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from client.privacy import stream as module
from client.privacy.stream import LABEL, SecureStream, poisson_sample
from shared.errors import MisuseError
from shared.secagg.keystream import KeyStream
from tests.client.privacy.known import Known, words

#: Below this, a statistical test fails: by chance once in 10^7.
RARE = 1e-7

FORK = """
import json, os
from client.privacy.stream import SecureStream

def child(what):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, json.dumps(what()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = json.load(pipe)
    os.waitpid(pid, 0)
    return told

stream = SecureStream()
stream.words(1)
draw = lambda: stream.words(4).tolist()
first, second = child(draw), child(draw)
grandchild = child(lambda: child(draw))
twice = child(lambda: draw() + child(draw))
print(json.dumps([first, second, grandchild, twice[:4], twice[4:], draw()]))
"""


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the operating system gave."""
    given: list[bytes] = []
    urandom = os.urandom

    def watched(size: int) -> bytes:
        given.append(urandom(size))
        return given[-1]

    monkeypatch.setattr(os, "urandom", watched)
    return given


def expected(seed: bytes, count: int) -> list[int]:
    data = np.empty(8 * count, np.uint8)
    KeyStream(seed, LABEL).fill(data)
    return [int(word) for word in data.view("<u8")]


def test_the_words_are_aes_under_a_key_of_the_operating_system(seeds: list[bytes]) -> None:
    stream = SecureStream()
    assert [len(seed) for seed in seeds] == [32]
    assert stream.words(3).tolist() + stream.words(2).tolist() == expected(seeds[0], 5)
    assert len(seeds) == 1


def test_a_key_is_used_up_and_followed_by_a_fresh_one(seeds: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_BYTES", 64)
    stream = SecureStream()
    made = [stream.words(4).tolist() for _ in range(3)]
    assert made == [expected(seeds[0], 8)[:4], expected(seeds[0], 8)[4:], expected(seeds[1], 4)]


def test_long_and_short_pieces_of_every_type_are_filled_to_the_end() -> None:
    stream = SecureStream()
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        made: NDArray[np.uint8] = np.zeros(100_003, dtype)
        stream.fill(made)
        assert made[:100].any() and made[-100:].any()
    assert stream.words(0).tolist() == []


def test_a_strided_array_is_refused_rather_than_left_as_it_was() -> None:
    with pytest.raises(MisuseError, match="contiguous"):
        SecureStream().fill(np.zeros(8, np.uint64)[::2])


def test_no_seed_has_a_say() -> None:
    def begun() -> list[int]:
        np.random.seed(0)
        random.seed(0)
        return [int(word) for word in SecureStream().words(2)]

    assert begun() != begun()
    with pytest.raises(TypeError):
        SecureStream(1)  # type: ignore[call-arg]


def test_a_stream_cannot_be_copied_pickled_or_read_out() -> None:
    stream = SecureStream()
    for taken in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(MisuseError, match="a copy"):
            taken(stream)
    with pytest.raises(TypeError):
        vars(stream)
    shown = repr(stream) + str(stream) + f"{stream:}"
    assert shown == "SecureStream()" * 3


def test_a_forked_process_repeats_neither_its_parent_nor_its_siblings() -> None:
    made = subprocess.run([sys.executable, "-c", FORK], check=True, capture_output=True, text=True).stdout
    told = [tuple(words) for words in json.loads(made)]
    assert len(set(told)) == len(told) == 6
    assert len({word for words in told for word in words}) == 24


def test_no_block_comes_twice_from_any_stream_or_call() -> None:
    streams = [SecureStream() for _ in range(4)]
    blocks = np.concatenate([stream.words(2 * 20_000).view("V16") for stream in streams for _ in range(3)])
    assert len(np.unique(blocks)) == 240_000


def test_every_byte_and_every_bit_is_as_frequent_as_another() -> None:
    made = SecureStream().words(1 << 18).view(np.uint8)
    counts = np.bincount(made, minlength=256)
    mean = len(made) / 256
    assert chi2.sf(((counts - mean) ** 2 / mean).sum(), 255) > RARE
    bits = np.unpackbits(made).reshape(-1, 64).sum(axis=0, dtype=np.int64)
    assert np.abs(bits - (1 << 17)).max() < 6.5 * np.sqrt(1 << 16)


@pytest.mark.parametrize("rate", [0.5, 2.0**-12, 0.3, 1.0])
def test_the_rate_is_exact_to_the_last_word(rate: float) -> None:
    first = int(rate * 2**64)  # the first word that does not draw
    assert first == rate * 2**64
    edge = [0, first - 1] if rate == 1.0 else [0, first - 1, first, 2**64 - 1]
    drawn = poisson_sample(len(edge), rate, Known(words(*edge)))
    assert drawn.tolist() == [0, 1]


def test_a_rate_between_two_words_is_rounded_down() -> None:
    rate = 3.7 * 2.0**-64
    assert poisson_sample(5, rate, Known(words(0, 1, 2, 3, 4))).tolist() == [0, 1, 2]
    assert poisson_sample(2, 2.0**-65, Known(words(0, 1))).tolist() == []


def test_each_patient_is_drawn_at_the_rate_and_on_its_own() -> None:
    stream, times = SecureStream(), 20_000
    drawn = np.zeros((times, 10))
    for row in drawn:
        row[poisson_sample(10, 0.3, stream)] = 1
    assert np.abs(drawn.mean(axis=0) - 0.3).max() < 6 * np.sqrt(0.21 / times)
    pairs = np.corrcoef(drawn.T) - np.eye(10)
    assert np.abs(pairs).max() < 6.5 / np.sqrt(times)
    assert np.abs((drawn[1:] - 0.3).ravel() @ (drawn[:-1] - 0.3).ravel()) < 6 * 0.21 * np.sqrt(drawn.size)


def test_the_sample_is_ascending_int64_and_may_be_empty() -> None:
    drawn = poisson_sample(1000, 0.5, SecureStream())
    assert drawn.dtype == np.int64 and (np.diff(drawn) > 0).all()
    assert poisson_sample(0, 0.5, SecureStream()).tolist() == []
    assert poisson_sample(3, 1.0, SecureStream()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_what_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(MisuseError, match="sampling rate"):
        poisson_sample(5, rate, SecureStream())
