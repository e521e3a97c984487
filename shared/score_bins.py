"""Histograms of scores: bins of equal width on the logit scale, and the sums of their counts.

Guarantees: the bins are ordered and cover all probabilities; running sums of exact counts pass through `rising`
unchanged.

    >>> int(bin_of(np.array([0.5]))[0]) == BINS // 2
    True
"""

import numpy as np
from numpy.typing import NDArray

#: Score bins, equal on the logit scale: a network pushed to 0 or 1 keeps its order.
BINS = 512
LOGIT_LIMIT = 10.0
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def bin_of(scores: NDArray[np.float32] | Floats) -> Ints:
    """Bin index [n] of probabilities [n]."""
    p = np.clip(np.asarray(scores, np.float64), 1e-12, 1 - 1e-12)
    logit = np.clip(np.log(p / (1 - p)), -LOGIT_LIMIT, LOGIT_LIMIT)
    position = (logit + LOGIT_LIMIT) / (2 * LOGIT_LIMIT) * BINS
    return np.minimum(position.astype(np.int64), BINS - 1)


def bin_edges() -> Floats:
    """Lower edges of the bins as probabilities, [BINS]; bin k holds scores ≥ edge k and < edge k + 1."""
    logits: Floats = -LOGIT_LIMIT + 2 * LOGIT_LIMIT * np.arange(BINS) / BINS
    edges: Floats = 1 / (1 + np.exp(-logits))
    edges[0] = 0.0
    return edges


def bin_centres() -> Floats:
    """The probability a bin stands for, [BINS]."""
    logits: Floats = -LOGIT_LIMIT + 2 * LOGIT_LIMIT * (np.arange(BINS) + 0.5) / BINS
    centres: Floats = 1 / (1 + np.exp(-logits))
    return centres


def groups_of(groups: int) -> list[Floats]:
    """Which bins lie in each of `groups` equal parts of [0, 1]: 0/1 [BINS] each."""
    group = np.minimum((bin_centres() * groups).astype(np.int64), groups - 1)
    return [(group == place).astype(np.float64) for place in range(groups)]


def whole(histogram: Floats) -> Ints:
    """`histogram` [BINS] in whole numbers, every sum from the first bin on off by at most a half."""
    sums: Ints = np.rint(np.cumsum(histogram)).astype(np.int64)
    sums[1:] -= sums[:-1].copy()
    return sums


def rising(sums: Ints) -> Floats:
    """Running sums made to rise from 0 to their last, half way between the least curves above and below them; those of
    exact counts stay as they are."""
    held = np.clip(sums, 0, max(0, int(sums[-1])))
    above, below = np.maximum.accumulate(held), np.minimum.accumulate(held[::-1])[::-1]
    return (above + below) / 2
