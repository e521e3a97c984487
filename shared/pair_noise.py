"""How far a share of concordant pairs may be off where the counts it is made of are noisy.

`PairNoise` is what the intervals need of every hospital with noise, in integers that add up over hospitals; all zero
where no hospital adds any. Guarantees: what it holds is computed from noisy counts only; an interval covers both whose
patients were drawn and the noise; where the noise leaves open whether there are any pairs at all, there is no figure
and the interval is [0, 1].

    >>> PairNoise().sites
    0
"""

from math import nan, sqrt
from typing import NamedTuple

from shared.prefix_noise import Floats, cross_noise, pair_noise, total_deviation

Z_95 = 1.959963984540054
#: Fixed point of `PairNoise.variance`; and what a unit of its cubic sums stands for, so that they fit.
VARIANCE_UNIT = 1 << 10
CUBIC_UNIT = 64


class PairNoise(NamedTuple):
    """Sums over the hospitals with noise, P and N being the patients of either class there (unbiased estimates)."""

    #: hospitals with noise, and Σ s² × VARIANCE_UNIT, s in patients being the noise's deviation in C h
    #: (shared/prefix_noise.py)
    sites: int = 0
    variance: int = 0
    #: variance by the noise of the concordant pairs, their covariance with all pairs, variance of all pairs
    concordant: int = 0
    both: int = 0
    all: int = 0
    #: Σ PN; Σ P²N and Σ PN² in CUBIC_UNIT
    pairs: int = 0
    by_positives: int = 0
    by_negatives: int = 0

    @classmethod
    def of(cls, positives: Floats, negatives: Floats, deviation: float) -> "PairNoise":
        """Of one hospital's noisy histograms [bins], whose noise has `deviation` s."""
        variance = deviation**2
        concordant, both, pairs = pair_noise(positives, negatives, variance)
        p, n = float(positives.sum()), float(negatives.sum())
        of_sum = variance * total_deviation(len(positives)) ** 2  # p² is off by it on average
        cubic = (p * p - of_sum) * n / CUBIC_UNIT, p * (n * n - of_sum) / CUBIC_UNIT
        values = variance * VARIANCE_UNIT, concordant, both, pairs, p * n, *cubic
        return cls(1, *map(round, values))

    def deviation(self) -> float:
        """s of the sum over hospitals, in patients."""
        return sqrt(max(0, self.variance) / VARIANCE_UNIT)

    def moments(self, bins: int) -> tuple[float, float, float]:
        """(variance of the concordant pairs, covariance, variance of all pairs), never below what the noise alone has
        where there are no patients."""
        if not self.sites:
            return 0.0, 0.0, 0.0
        fourth = self.deviation() ** 4 / max(1, self.sites)  # Σ s⁴ is at least this
        least = [fourth * value for value in cross_noise(bins)]
        first, last = max(float(self.concordant), least[0]), max(float(self.all), least[2])
        bound = sqrt(first * last)
        return first, min(bound, max(-bound, float(self.both))), last

    def sampling(self, area: float) -> float:
        """Variance of the concordant pairs by who was drawn, in pairs², at a true `area` within [0, 1].

        Hanley and McNeil (Radiology 1982; 143:29–36), eq. 2. Patients are what is drawn: every one of them weighs 1,
        and one with several images, each with its share, varies no more than one with a single image (Rao–Blackwell).
        """
        positives = area / (2 - area) - area**2
        negatives = 2 * area**2 / (1 + area) - area**2
        by_positives = CUBIC_UNIT * self.by_positives - self.pairs
        by_negatives = CUBIC_UNIT * self.by_negatives - self.pairs
        found = self.pairs * area * (1 - area) + by_positives * positives + by_negatives * negatives
        return max(0.0, found)


def ratio_interval(
    part: float, whole: float, moments: tuple[float, float, float], sampling: float
) -> tuple[float, float]:
    """95 % interval of part ÷ whole within [0, 1], both noisy (Fieller, J R Stat Soc B 1954; 16:175–185).

    `moments`: variance of the part, covariance, variance of the whole, by the noise. `sampling`: variance of the part
    besides. [0, 1] where the whole may be 0.
    """
    first, both, last = moments
    square = Z_95**2
    a = whole**2 - square * last
    b = part * whole - square * both
    c = part**2 - square * (first + sampling)
    if whole <= 0 or a <= 0:
        return 0.0, 1.0
    half = sqrt(max(0.0, b * b - a * c))
    return min(1.0, max(0.0, (b - half) / a)), max(0.0, min(1.0, (b + half) / a))


def is_known(whole: float, variance: float) -> bool:
    """Whether a count with noise of `variance` is above 0 for certain enough (97.5 %) to divide by."""
    return whole > Z_95 * sqrt(variance)


def share(part: float, whole: float, variance: float = 0.0) -> float:
    """part ÷ whole within [0, 1]; nan where the whole, whose noise is of `variance`, may be 0."""
    return min(1.0, max(0.0, part / whole)) if is_known(whole, variance) else nan
