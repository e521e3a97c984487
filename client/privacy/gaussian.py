"""Exact discrete Gaussian noise: integers x with probability ∝ exp(−x² ÷ 2s²), from a cryptographic stream.

No float touches a sample, so no bit of one can tell what it was added to (Mironov 2012). How far the samples are from
that distribution, in two parts, both of which ε and δ can be charged with:

1. Tables. They hold cumulated probabilities as integers of 128 bits, computed with 256; words of 128 random bits
   become samples by inversion, of which 16 are mostly enough. Total variation from the true distribution: below 2^-116
   for each digit, so below 2^-113 for each sample, to be added to δ once for each sample: 2^-76 for 10^4 steps of 10^7.
2. Digits. A deviation above `TABLE` takes up to five tables: x = b·y + z, where y has deviation s₁, z has s₂, and
   s² = b²s₁² + s₂². Completing the square, P(x) ∝ exp(−x² ÷ 2s²) Σ_k exp(−(k − c)² ÷ 2v²) with v = s₁s₂ ÷ s and
   c = b s₁² x ÷ s². By Poisson's summation the sum over all integers k is v√2π (1 + 2 Σ_{j≥1} exp(−2π²v²j²) cos 2πjc):
   the same for all x up to a factor 1 ± 2.01 exp(−2π²v²). Here s₂ = `SPREAD`·b and s₁ > 20, so v > 2.96, and after five
   digits every probability is within 1 ± 2^-240 of the true one (Peikert 2010, theorem 3.1; Micciancio, Walter 2017).

Timing. Discrete samplers tell the size of a sample by the time it takes (Jin et al. 2022, arXiv 2112.05307). Here up to
`FEW` samples are all searched for, whatever they are: as many words, as many steps. Of more, only those that 16 bits do
not settle are, up to one in fifty a digit. That is not constant in time: the time tells how many of all those samples
were searched for, not which. It depends on the noise alone, what that is added to comes afterwards; and a change of one
patient, were the noise to make up for it, moves the expected number by less than one, where its own spread is above 10.

    >>> from client.privacy.stream import SecureStream
    >>> discrete_gaussian(3.7, 5, SecureStream()).shape
    (5,)
"""

import functools
import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from client.privacy.stream import SecureStream
from shared.errors import MisuseError

#: Largest deviation that is drawn from one table.
TABLE = 128.0
#: Deviation of the lower digit, in steps of the upper one.
SPREAD = 3
#: Deviations beyond which the tail, 2^-137 of the whole, is cut.
REACH = 13.6
#: Bits of the probabilities in a table, and those it is computed with.
BITS, WORKING_BITS = 128, 256
#: Samples of one call that are all searched for.
FEW = 1 << 12
#: Samples made at a time: what a chunk needs stays in a core's cache.
CHUNK = 1 << 15
#: In a guide: the first 16 bits do not settle it.
OPEN = np.iinfo(np.int16).min
#: Largest deviation: sums of 32 bits hold no eight of a larger one.
MOST = 1 << 28


@dataclass(frozen=True)
class Table:
    """One deviation's samples from words. Word u < 2^128 stands for the x with bounds[x − 1] ≤ u < bounds[x].

    `guide` int16 [2^16]: x where the first 16 bits of u tell it, else OPEN. `high`, `low` uint64 [2·reach]: the
    bounds' first and last 64 bits, from x = −reach on.
    """

    guide: NDArray[np.int16]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def draw(self, count: int, stream: SecureStream) -> NDArray[np.int16]:
        """`count` samples."""
        heads = np.empty(count, np.uint16)
        stream.fill(heads)
        samples = self.guide.take(heads.astype(np.intp))
        unsettled = np.flatnonzero(samples == OPEN) if count > FEW else np.arange(count)
        high = (stream.words(len(unsettled)) >> np.uint64(16)) | (heads[unsettled].astype(np.uint64) << np.uint64(48))
        samples[unsettled] = self.invert(high, stream.words(len(unsettled)))
        return samples

    def invert(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The samples that the words `high` · 2^64 + `low` [n] stand for."""
        first = np.searchsorted(self.high, high, side="left")
        below = np.searchsorted(self.high, high, side="right")
        for i in np.flatnonzero(first != below):  # 64 bits agree with a bound's: the last 64 decide
            within = self.low[first[i] : below[i]]
            below[i] = first[i] + np.searchsorted(within, low[i], side="right")
        return below - len(self.high) // 2


@functools.lru_cache(maxsize=32)
def table(variance: Fraction) -> Table:
    """The table of `variance`."""
    bounds = _bounds(variance)
    ends = np.arange(1 << 16)
    cells = [bound >> BITS - 16 for bound in bounds]
    reached = np.searchsorted([-(-bound >> BITS - 16) for bound in bounds], ends, side="right")  # bounds ≤ cell's first
    passed = np.searchsorted(cells, ends, side="right")  # bounds ≤ cell's last
    guide = np.where(reached == passed, reached - len(bounds) // 2, OPEN).astype(np.int16)
    high = np.array([bound >> 64 for bound in bounds], np.uint64)
    return Table(guide, high, np.array([bound & (1 << 64) - 1 for bound in bounds], np.uint64))


def _bounds(variance: Fraction) -> list[int]:
    """2^BITS times the probability of a sample ≤ x, rounded down, for x = −reach … reach − 1."""
    weights = _weights(variance)
    total = 2 * sum(weights) - weights[0]
    bounds, cumulated = [], 0
    for weight in [*weights[:0:-1], *weights[:-1]]:
        cumulated += weight
        bounds.append((cumulated << BITS) // total)
    return bounds


def _weights(variance: Fraction) -> list[int]:
    """2^WORKING_BITS · exp(−x² ÷ 2 variance) for x = 0 … reach: exp(−(x+1)²a) = exp(−x²a) · exp(−(2x+1)a)."""
    reach = math.ceil(REACH * math.sqrt(variance)) + 1
    weight, ratio, square = 1 << WORKING_BITS, _exponential(-1 / (2 * variance)), _exponential(-1 / variance)
    weights = []
    for _ in range(reach + 1):
        weights.append(weight)
        weight = weight * ratio >> WORKING_BITS
        ratio = ratio * square >> WORKING_BITS
    return weights


def _exponential(exponent: Fraction) -> int:
    """2^WORKING_BITS · exp(exponent), rounded down, for an exponent in [-1, 0]."""
    with localcontext(prec=100) as context:
        power = context.exp(Decimal(exponent.numerator) / Decimal(exponent.denominator))
        return int(power * (1 << WORKING_BITS))


@functools.lru_cache(maxsize=32)
def digits(deviation: float) -> tuple[int, tuple[Fraction, ...]]:
    """Base b, and the variances of the digits, highest first, whose value in base b has variance deviation²."""
    count = 1
    while SPREAD * (TABLE / SPREAD) ** count < deviation:
        count += 1
    base = int((deviation / SPREAD) ** (1 / count))
    lower = Fraction((SPREAD * base) ** 2)
    highest = Fraction(deviation) ** 2
    for _ in range(count - 1):
        highest = (highest - lower) / base**2
    return base, (highest, *(lower,) * (count - 1))


def discrete_gaussian(deviation: float, count: int, stream: SecureStream) -> NDArray[np.int64]:
    """`count` independent samples of parameter s = `deviation`, int64 [count].

    Their standard deviation is s, to 30 digits from s = 2 on. Raises MisuseError for an s outside [1, `MOST`].
    """
    if not 1 <= deviation <= MOST:
        raise MisuseError("deviation of discrete noise", expected=f"a number from 1 to {MOST}", got=str(deviation))
    base, variances = digits(deviation)
    tables = [table(variance) for variance in variances]
    samples = np.empty(count, np.int64)
    for start in range(0, count, CHUNK):
        chunk = samples[start : start + CHUNK]
        chunk[:] = tables[0].draw(len(chunk), stream)
        for lower in tables[1:]:
            chunk *= base
            chunk += lower.draw(len(chunk), stream)
    return samples
