"""Figures of a binary classifier that can be summed over hospitals without anyone showing its own.

A site turns its scores into `BinaryCounts`: non-negative integers only, so they travel through secure aggregation
exactly as they are; `a + b` of two sites' counts are the counts of both. From the sum come the pooled ROC and AUC, the
site-stratified AUC (pairs compared within a site only, exact), confusion and calibration at any threshold.

    >>> site = BinaryCounts.of(np.array([0.9, 0.2]), np.array([1, 0]), np.array([0, 1]))
    >>> (site + site).stratified_auc
    1.0
"""

from dataclasses import dataclass
from math import nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Score bins, equal on the logit scale: a network pushed to 0 or 1 keeps its order.
BINS = 512
LOGIT_LIMIT = 10.0
#: Fixed point for one site's AUC: 200 sites' sum stays far below 2^64.
AUC_UNIT = 1 << 24
Z_95 = 1.959963984540054

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


class Confusion(NamedTuple):
    """Images by truth and call at one threshold."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def sensitivity(self) -> float:
        """Share of the positives called positive."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of the negatives called negative."""
        return _share(self.true_negative, self.true_negative + self.false_positive)


class CalibrationBin(NamedTuple):
    """Images whose score fell in one tenth of [0, 1]: mean score against the share that is positive."""

    images: int
    mean_score: float
    positive_share: float


def _share(part: float, whole: float) -> float:
    return part / whole if whole else nan


def _pair_figures(scores: Floats, labels: Ints, patients: Ints) -> tuple[int, int, float]:
    """(2 × concordant + tied pairs, pairs, variance of the AUC with patients as clusters).

    Variance after Obuchowski (Biometrics 1997; 53:567–578), eq. 4–6: images of one patient are not independent.
    """
    positive, negative = scores[labels == 1], scores[labels == 0]
    m, n = len(positive), len(negative)
    if not m or not n:
        return 0, 0, 0.0
    ordered_neg, ordered_pos = np.sort(negative), np.sort(positive)
    below = np.searchsorted(ordered_neg, positive, "left")
    twice = below + np.searchsorted(ordered_neg, positive, "right")  # 2 × (lower negatives) + ties, per positive
    above = 2 * m - np.searchsorted(ordered_pos, negative, "left") - np.searchsorted(ordered_pos, negative, "right")
    area = float(twice.sum()) / (2 * m * n)
    clusters, owner = np.unique(patients, return_inverse=True)
    size = len(clusters)
    own_pos, own_neg = owner[labels == 1], owner[labels == 0]
    v10 = np.bincount(own_pos, twice / (2 * n) - area, size)
    v01 = np.bincount(own_neg, above / (2 * m) - area, size)
    with_pos, with_neg = len(np.unique(own_pos)), len(np.unique(own_neg))
    if with_pos < 2 or with_neg < 2:
        return int(twice.sum()), m * n, 0.25
    s10 = with_pos / ((with_pos - 1) * m) * float(v10 @ v10)
    s01 = with_neg / ((with_neg - 1) * n) * float(v01 @ v01)
    s11 = size / (size - 1) * float(v10 @ v01)
    return int(twice.sum()), m * n, min(0.25, max(0.0, s10 / m + s01 / n + 2 * s11 / (m * n)))


@dataclass(frozen=True)
class BinaryCounts:
    """Summable counts: histograms [BINS] of the scores of positives and negatives, and pair counts."""

    positives: Ints
    negatives: Ints
    #: 2 × concordant pairs + ties, within sites
    twice_concordant: int
    #: positive–negative pairs within sites
    pairs: int
    #: Σ over sites of var(AUC) × pairs², rounded
    pair_variance: int
    #: sites that hold both classes, and the sum of their AUCs in AUC_UNIT
    sites: int
    auc_sum: int

    #: integers of one site's counts when they travel
    LENGTH = 2 * BINS + 5

    @classmethod
    def of(cls, scores: NDArray[np.float32] | Floats, labels: Ints, patients: Ints) -> "BinaryCounts":
        """Counts of one site: probabilities [n], labels 0/1 [n], patient index [n]."""
        bins = bin_of(scores)
        twice, pairs, variance = _pair_figures(np.asarray(scores, np.float64), labels, patients)
        return cls(
            positives=np.bincount(bins[labels == 1], minlength=BINS),
            negatives=np.bincount(bins[labels == 0], minlength=BINS),
            twice_concordant=twice,
            pairs=pairs,
            pair_variance=round(variance * pairs * pairs),
            sites=int(pairs > 0),
            auc_sum=round(AUC_UNIT * twice / (2 * pairs)) if pairs else 0,
        )

    def __add__(self, other: "BinaryCounts") -> "BinaryCounts":
        mine, theirs = self.to_integers(), other.to_integers()
        return BinaryCounts.from_integers([a + b for a, b in zip(mine, theirs, strict=True)])

    def to_integers(self) -> list[int]:
        """`LENGTH` non-negative integers below 2^64, in a fixed order."""
        tail = [self.twice_concordant, self.pairs, self.pair_variance, self.sites, self.auc_sum]
        return [*map(int, self.positives), *map(int, self.negatives), *tail]

    @classmethod
    def from_integers(cls, values: list[int]) -> "BinaryCounts":
        """The inverse of `to_integers`, of one site or of a sum over sites."""
        if len(values) != cls.LENGTH:
            raise ValueError(f"expected {cls.LENGTH} counts, got {len(values)}")
        histograms = np.array(values[: 2 * BINS], np.int64)
        return cls(histograms[:BINS], histograms[BINS:], *values[2 * BINS :])

    @property
    def images(self) -> int:
        """Images counted."""
        return int(self.positives.sum() + self.negatives.sum())

    @property
    def stratified_auc(self) -> float:
        """Share of concordant pairs, compared within sites only; nan if no site holds both classes."""
        return _share(self.twice_concordant, 2 * self.pairs)

    @property
    def stratified_interval(self) -> tuple[float, float]:
        """95 % interval of `stratified_auc`, patients as clusters."""
        return interval(self.stratified_auc, sqrt(self.pair_variance) / self.pairs if self.pairs else nan)

    @property
    def mean_site_auc(self) -> float:
        """Plain mean of the AUCs of the sites that hold both classes."""
        return _share(self.auc_sum / AUC_UNIT, self.sites)

    def roc(self) -> tuple[Floats, Floats]:
        """Pooled ROC: false positive rate and true positive rate, [BINS + 1] each, from (0, 0) to (1, 1)."""
        tpr = np.r_[0, np.cumsum(self.positives[::-1])] / max(1, int(self.positives.sum()))
        fpr = np.r_[0, np.cumsum(self.negatives[::-1])] / max(1, int(self.negatives.sum()))
        return fpr, tpr

    @property
    def pooled_auc(self) -> float:
        """Area under the pooled ROC (ties within a bin count half); nan without both classes."""
        if not self.positives.sum() or not self.negatives.sum():
            return nan
        fpr, tpr = self.roc()
        return float(np.trapezoid(tpr, fpr))

    def threshold_for(self, sensitivity: float) -> int:
        """Highest bin such that calling it and all above positive reaches `sensitivity`; 0 if none does."""
        reached = np.cumsum(self.positives[::-1])[::-1]
        enough = np.flatnonzero(reached >= sensitivity * max(1, int(self.positives.sum())))
        return int(enough[-1]) if len(enough) else 0

    def confusion(self, threshold: int) -> Confusion:
        """Counts when bins ≥ `threshold` are called positive."""
        return Confusion(
            int(self.positives[threshold:].sum()),
            int(self.positives[:threshold].sum()),
            int(self.negatives[:threshold].sum()),
            int(self.negatives[threshold:].sum()),
        )

    def calibration(self, groups: int = 10) -> list[CalibrationBin]:
        """Reliability in `groups` equal parts of [0, 1]; scores are taken as the centre of their bin."""
        centres = bin_centres()
        group = np.minimum((centres * groups).astype(np.int64), groups - 1)
        both = self.positives + self.negatives
        count = np.bincount(group, both, groups)
        score = np.bincount(group, both * centres, groups)
        positive = np.bincount(group, self.positives, groups)
        return [
            CalibrationBin(int(c), _share(s, c), _share(p, c)) for c, s, p in zip(count, score, positive, strict=True)
        ]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over ten groups, weighted by images."""
        parts = [b for b in self.calibration() if b.images]
        return _share(sum(b.images * abs(b.mean_score - b.positive_share) for b in parts), self.images)


def interval(area: float, deviation: float) -> tuple[float, float]:
    """95 % normal interval of an area under the curve, kept within [0, 1]."""
    return max(0.0, area - Z_95 * deviation), min(1.0, area + Z_95 * deviation)
