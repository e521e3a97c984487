"""Noise on a histogram that hardly disturbs sums over ranges of it: the square root of the prefix sum, normalised.

An area under the curve, a confusion table and a calibration group are all made of sums over neighbouring bins. Noise
that is independent from bin to bin adds up in them, to √512 of one bin's. So a histogram h ∈ R^B is not given away
itself, but C h, every entry with independent noise of deviation s, and h is computed back from that. C is the
lower-triangular square root of the matrix of ones (Fichtenberger, Henzinger, Upadhyay 2023, arXiv 2202.11205), each
column divided by its norm (Henzinger, Kalinin, Upadhyay 2025, arXiv 2509.14334). Guarantees:

- Sensitivity. Every column of C has L2 norm 1: whoever moves weights of at most 1 in all moves C h by at most 1 in L2.
- Small sums. With s = 1 no sum over a range of 512 bins has a deviation above 3.69, the whole of it 2.47; independent
  noise would give 22.6 there.

    >>> bool(strategy(4)[0, 0] ** 2 < 1)
    True
"""

import functools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _toeplitz(exponent: float, bins: int) -> Floats:
    """The lower-triangular Toeplitz matrix [bins, bins] of the power series of (1 − x)^−exponent."""
    k = np.arange(1, bins)
    coefficients = np.cumprod(np.r_[1.0, (k - 1 + exponent) / k])
    row, column = np.indices((bins, bins))
    return np.where(row >= column, coefficients[np.abs(row - column)], 0.0)


@functools.lru_cache(maxsize=4)
def strategy(bins: int) -> Floats:
    """C [bins, bins], every column of norm 1."""
    root = _toeplitz(0.5, bins)
    scaled: Floats = root / np.linalg.norm(root, axis=0)
    return scaled


@functools.lru_cache(maxsize=4)
def spread(bins: int) -> Floats:
    """C^−1 [bins, bins]: what independent noise on C h becomes on h."""
    norms = np.linalg.norm(_toeplitz(0.5, bins), axis=0)
    inverse: Floats = norms[:, None] * _toeplitz(-0.5, bins)
    return inverse


def deviation_of(weights: Floats) -> float:
    """Standard deviation of Σ weights × h, weights [bins], where the noise on C h has deviation 1."""
    return float(np.linalg.norm(spread(len(weights)).T @ weights))


@functools.lru_cache(maxsize=4)
def total_deviation(bins: int) -> float:
    """`deviation_of` the whole histogram's sum."""
    return deviation_of(np.ones(bins))


def below(histogram: Floats) -> Floats:
    """T h [bins]: how many of `histogram` lie below each bin, those in it counted half. T is the lower triangle of
    ones, ½ on the diagonal: p'Tn are the concordant pairs of positives p and negatives n."""
    sums: Floats = np.cumsum(histogram) - histogram / 2
    return sums


def above(histogram: Floats) -> Floats:
    """T'h [bins]: how many lie above each bin, those in it counted half."""
    return below(histogram[::-1])[::-1]


@functools.lru_cache(maxsize=4)
def cross_noise(bins: int) -> tuple[float, float, float]:
    """Var p'Tn, their covariance, and var p'1·1'n, of pure noise p and n, independent, of deviation 1 on C p and C n.

    By T + T' = 11', the covariance is half the latter.
    """
    noise, matrix = spread(bins), np.tri(bins, k=-1) + 0.5 * np.eye(bins)
    whole = total_deviation(bins) ** 4
    return float(np.square(noise.T @ matrix @ noise).sum()), whole / 2, whole


def pair_noise(positives: Floats, negatives: Floats, variance: float) -> tuple[float, float, float]:
    """Variances that noise of `variance` on C p and C n gives p'Tn and p'1·1'n, and their covariance: (concordant,
    both, pairs), in pairs².

    `positives` p, `negatives` n [bins]: the noisy histograms, as they are. Unbiased: the linear terms' variance, taken
    at p and n, holds the quadratic term's once for each of the two; it is due once in all.
    """
    noise = spread(len(positives))
    ones = noise.T @ np.ones(len(positives))
    first = noise.T @ np.stack([below(negatives), above(positives)], axis=1)  # [bins, 2]
    second = np.outer(ones, [negatives.sum(), positives.sum()])  # [bins, 2]
    linear = float((first**2).sum()), float((first * second).sum()), float((second**2).sum())
    concordant, both, pairs = (
        variance * a - variance**2 * b for a, b in zip(linear, cross_noise(len(positives)), strict=True)
    )
    return concordant, both, pairs
