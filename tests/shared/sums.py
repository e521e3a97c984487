"""What a step masks as its sum holds it, without the masks."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.secagg.collector import Total
from shared.secagg.masks import Words
from shared.secagg.member import Plain
from shared.secagg.packing import Bits
from shared.update import Codec

SEED = bytes(range(32))


def words_of(plain: Plain, length: int, bits: int = 32, cuts: Iterable[int] = ()) -> Words:
    """The vector, written in the pieces between `cuts`."""
    words: Words = np.zeros(length, "<u4" if bits == 32 else "<u2")
    for start, stop in pairwise([0, *cuts, length]):
        plain.fill(start, words[start:stop])
    return words


def counted(plain: Plain) -> Total:
    """One site's counting step, unmasked."""
    return Total(plain.counts, words_of(plain, 0))


def total_of(parts: Iterable[Total], bits: int = 32) -> Total:
    """The sum as a Collector hands it over: of narrow words, the bits above are noise."""
    rows = list(parts)
    words = rows[0].words.copy()
    for row in rows[1:]:
        words += row.words
    if bits < 16:
        words &= np.uint16((1 << bits) - 1)
        words |= np.random.default_rng(1).integers(0, 1 << 16, words.size, np.uint16) << np.uint16(bits)
    return Total(np.sum([row.counts for row in rows], axis=0, dtype=np.uint64), words)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def codec(bits: Bits = 32, *, parameters: int = 2, cohort: int = 3, norm: float = 4.0, seed: bytes = SEED) -> Codec:
    return Codec(norm=norm, bits=bits, cohort=cohort, parameters=parameters, seed=seed)


def sent(side: Codec, update: NDArray[np.float32], weight: int, most: int, *, scaled: bool = False) -> Total:
    """One site's training step, unmasked: what the sum over this site alone is."""
    plain = side.write(update, weight, most, scaled=scaled)
    return Total(plain.counts, words_of(plain, side.length, side.bits))


def with_counts(total: Total, **change: int) -> Total:
    """`total` with other counts, as sites that lie about them would have it."""
    names = ("sites", "scaled", "clamped", "weight", "spread", "work")
    counts = dict(zip(names, total.counts.tolist(), strict=True)) | change
    return total._replace(counts=np.array(list(counts.values()), "<u8"))
