"""Shares of images at a threshold, with 95 % intervals that count patients as clusters: what must be summed for them.

Images of one patient are not independent: what a share varies by more than independent images would is its design
effect, and its interval is Wilson's of so many times fewer images (Rao and Scott, Biometrics 1992; 48:577–585). The
threshold is chosen when all sums are in, so hospitals count for THRESHOLDS of the bins, and a threshold between two of
them takes the larger effect. Areas under curves have Wilson's interval too, means Student's.

    >>> round(wilson(0.9, 100)[0], 3)
    0.826
"""

from dataclasses import dataclass
from math import isnan, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from shared.pair_noise import Z_95
from shared.score_bins import BINS, Floats, Ints, bin_of

#: Bins whose sums are kept: every 16th.
THRESHOLDS = np.arange(8, BINS, 16)
#: Design effect and figures of images that are taken as independent.
INDEPENDENT = (1.0, 1.0)
Interval = tuple[float, float]


@dataclass(frozen=True)
class Clusters:
    """Sums over the patients that have images of one class: m images each, a of them called positive.

    Σ 1, Σ m² and, for each of THRESHOLDS, Σ a² and Σ a m; they add up over hospitals.
    """

    patients: int
    squares: int
    called: Ints
    both: Ints

    LENGTH = 2 + 2 * len(THRESHOLDS)

    @classmethod
    def of(cls, bins: Ints, patients: Ints) -> "Clusters":
        """Of images whose scores lie in `bins` [n], patient index [n]; n may be 0."""
        called, images = by_patient(bins[:, None] >= THRESHOLDS, patients)
        return cls(
            len(images), int(images @ images), np.square(called).sum(axis=0), (called * images[:, None]).sum(axis=0)
        )

    def to_integers(self) -> list[int]:
        """`LENGTH` integers, none negative."""
        return [self.patients, self.squares, *self.called.tolist(), *self.both.tolist()]

    @classmethod
    def from_integers(cls, values: list[int]) -> "Clusters":
        """The inverse, of one site or of a sum."""
        sums = np.array(values[2:], np.int64)
        return cls(values[0], values[1], sums[: len(THRESHOLDS)], sums[len(THRESHOLDS) :])

    def effect(self, histogram: Ints, threshold: int) -> float:
        """Design effect of the share of the images [BINS] in bins ≥ `threshold`; never below 1."""
        above = np.cumsum(histogram[::-1])[::-1]
        place = int(np.searchsorted(THRESHOLDS, threshold))
        exact = place < len(THRESHOLDS) and THRESHOLDS[place] == threshold
        near = {place} if exact else {max(0, place - 1), min(place, len(THRESHOLDS) - 1)}
        whole = int(histogram.sum())
        return max(
            design_effect(
                float(above[THRESHOLDS[k]]),
                whole,
                self.patients,
                (int(self.called[k]), int(self.both[k]), self.squares),
            )
            for k in near
        )


@dataclass(frozen=True)
class ClassClusters:
    """`Clusters` of the positives and of the negatives of one finding."""

    positives: Clusters
    negatives: Clusters

    LENGTH = 2 * Clusters.LENGTH

    @classmethod
    def of(cls, scores: NDArray[np.float32] | Floats, labels: Ints, patients: Ints) -> "ClassClusters":
        """Of one site: probabilities [n], labels 0/1 [n], patient index [n]."""
        bins = bin_of(scores)
        positives, negatives = (Clusters.of(bins[labels == label], patients[labels == label]) for label in (1, 0))
        return cls(positives, negatives)

    def to_integers(self) -> list[int]:
        """`LENGTH` integers, none negative."""
        return [*self.positives.to_integers(), *self.negatives.to_integers()]

    @classmethod
    def from_integers(cls, values: list[int]) -> "ClassClusters":
        """The inverse."""
        return cls(*(Clusters.from_integers(part) for part in (values[: Clusters.LENGTH], values[Clusters.LENGTH :])))


def by_patient(values: NDArray[np.generic], patients: Ints) -> tuple[Ints, Ints]:
    """Whole numbers or booleans [n, k] summed over each patient's images, [patients, k], and the images of each."""
    _, owner, images = np.unique(patients, return_inverse=True, return_counts=True)
    sums = np.zeros((len(images), values.shape[1]), np.int64)
    np.add.at(sums, owner, values.astype(np.int64))
    return sums, images.astype(np.int64)


def design_effect(part: float, whole: float, patients: int, sums: tuple[int, int, int]) -> float:
    """Variance of part ÷ whole with patients as clusters over that of as many independent images; never below 1.

    `sums` are Σ a², Σ a m and Σ m² over the patients. Of a share of 0 or 1, whose variance says nothing, the effect is
    that of patients whose images are all alike.
    """
    if patients < 2 or whole <= 0:
        return 1.0
    share, (squares, both, images) = part / whole, sums
    if not 0 < share < 1:
        return max(1.0, images / whole)
    clustered = patients / (patients - 1) * (squares - 2 * share * both + share**2 * images) / whole**2
    return max(1.0, clustered / (share * (1 - share) / whole))


def wilson(share: float, images: float) -> Interval:
    """95 % interval of a share of so many independent images (Wilson 1927); (nan, nan) without any."""
    if isnan(share) or images <= 0:
        return nan, nan
    z = Z_95**2 / images
    middle, half = (share + z / 2) / (1 + z), sqrt(z * share * (1 - share) + z**2 / 4) / (1 + z)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def sum_interval(first: float, second: float, of_first: Interval, of_second: Interval) -> Interval:
    """95 % interval of the sum of two independent shares with these (Newcombe, Stat Med 1998; 17:873–890)."""
    low = sqrt((first - of_first[0]) ** 2 + (second - of_second[0]) ** 2)
    high = sqrt((of_first[1] - first) ** 2 + (of_second[1] - second) ** 2)
    return first + second - low, first + second + high


def area_interval(area: float, deviation: float) -> Interval:
    """95 % interval of an area under the curve, within [0, 1]: Wilson's of as many independent trials as have the same
    deviation, since a normal one is far too narrow near 1. (nan, nan) without an area or a deviation."""
    variance = deviation**2
    if isnan(area + variance) or variance == 0:
        return nan, nan
    # of an area of 1, or all but, the trials of which half a one off has this variance: a (1 − a) ÷ n = variance
    return wilson(area, max(area * (1 - area) / variance, 1 / sqrt(2 * variance)))


def width(patients: int) -> float:
    """How many of its deviations a mean may lie off with 95 %, these being estimated from so many patients: Student's
    quantile; nan of fewer than two."""
    return float(stdtrit(patients - 1, 0.975)) if patients > 1 else nan


def interval(mean: float, deviation: float, patients: int) -> Interval:
    """95 % interval of a mean of shares whose `deviation` is that of so many patients, kept within [0, 1]; (nan, nan)
    without a mean or a deviation."""
    margin = width(patients) * deviation
    return (nan, nan) if isnan(mean + margin) else (max(0.0, mean - margin), min(1.0, mean + margin))
