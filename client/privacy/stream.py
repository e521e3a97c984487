"""Randomness that privacy rests on: from the operating system, never from a seed.

A `SecureStream` is AES-256 in counter mode (shared/secagg/keystream.py) under 32 fresh bytes of `os.urandom`. It
decides which patients are drawn and makes the noise. Guarantees:

- It takes no seed, and cannot be copied, pickled or read out: no two streams share a word, whoever asks for it.
- A forked process never repeats its parent: the first word after a fork, in the child, comes from a new key.
- A new key every `RENEW_BYTES`, so that no advantage over truly random words grows with the length of a study: below
  2^-76 a key, if AES is a random permutation (2^26 blocks).

    >>> SecureStream().words(3).dtype
    dtype('uint64')
"""

import os
from fractions import Fraction
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from shared.errors import MisuseError
from shared.secagg.keystream import CHUNK_BYTES, SEED_BYTES, KeyStream

#: What one key gives before the next: 1 GiB.
RENEW_BYTES = 1 << 30
#: Parts these streams from masks and dither, were a key ever to repeat.
LABEL = "konsil/privacy/v1"

Words = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]


class _Forks:
    """How many forks lie between this process and the first."""

    count = 0


def _forked() -> None:
    _Forks.count += 1


os.register_at_fork(after_in_child=_forked)


class SecureStream:
    """Uniform words. Not for two threads at once: give each its own."""

    __slots__ = ("_forks", "_keys", "_left")

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._keys, self._left, self._forks = KeyStream(os.urandom(SEED_BYTES), LABEL), RENEW_BYTES, _Forks.count

    def fill(self, words: Words) -> None:
        """Overwrite `words`, one contiguous array of any length, with uniform ones."""
        if not words.flags.c_contiguous:
            raise MisuseError("words to fill", expected="a contiguous array", got="a strided one")
        data = words.reshape(-1).view(np.uint8)
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            if self._left < len(piece) or self._forks != _Forks.count:
                self._renew()
            self._keys.fill(piece)
            self._left -= len(piece)

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform words of 64 bits."""
        words = np.empty(count, np.uint64)
        self.fill(words)
        return words

    def __repr__(self) -> str:
        return "SecureStream()"

    def __reduce__(self) -> NoReturn:
        raise MisuseError("random stream", expected="to be made where it is used", got="a copy", do="Make a new one.")


def poisson_sample(count: int, rate: float, stream: SecureStream) -> NDArray[np.int64]:
    """Which of `count` patients are drawn, each with probability `rate` and on its own, ascending [≤ count].

    The probability is `rate` itself where that is a multiple of 2^-64, as every float from 2^-12 on is, else the next
    multiple below: never more than an accountant was told.
    """
    if not 0 < rate <= 1:
        raise MisuseError("sampling rate", expected="a number in (0, 1]", got=str(rate))
    most = int(Fraction(rate) * 2**64) - 1  # the largest word that draws: at rate 1, every word does
    words = stream.words(count)
    return np.flatnonzero(words <= np.uint64(most)) if most >= 0 else np.empty(0, np.int64)
