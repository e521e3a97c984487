"""How far predicted values are from true ones: sums over hospitals, and the figures made of them.

Both are scaled so that the public range of the value is [0, 1], and held inside it. Sums are fixed point; those that
may be negative are of something shifted above 0, so that every integer is 0 or more. Sums within a hospital (about its
own means) say how well values are told apart where one scanner and one population are looked at.

    >>> Differences.from_integers([0] * Differences.LENGTH).images
    0
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import NamedTuple, TypeVar

import numpy as np

from shared.errors import unlikely
from shared.score_bins import Floats, Ints
from shared.shares import width

#: Fixed point of a value in [0, 1], and of squares of sums over one patient's images: these stay below 2^47 where no
#: patient has more than 46,000.
UNIT, SQUARE_UNIT = 1 << 24, 1 << 16
#: Parts of [0, 1]: of |difference|, and of the prediction.
ERRORS, GROUPS = 128, 10


T = TypeVar("T")


class PatientSums(NamedTuple):
    """Σ a², Σ a m over patients with m images whose values add up to a, in SQUARE_UNIT."""

    squares: int
    both: int

    @classmethod
    def of(cls, values: Floats, patients: Ints) -> "PatientSums":
        """Of values in [0, 1] of each image [n], patient index [n]."""
        _, owner, images = np.unique(patients, return_inverse=True, return_counts=True)
        sums = np.bincount(owner, values, len(images))
        return cls(round(SQUARE_UNIT * float(sums @ sums)), round(SQUARE_UNIT * float(sums @ images)))


class Mean(NamedTuple):
    """A mean over images and its standard deviation, that of so many `patients` as clusters."""

    value: float
    deviation: float
    patients: int = 0


@dataclass(frozen=True)
class Differences:
    """Sums over images and patients; `own` are those about each hospital's own means."""

    patients: int
    #: Σ m² over patients with m images
    squares: int
    #: in UNIT: Σ |d|, Σ d², Σ (d + 1) ÷ 2, Σ truth, Σ truth², Σ prediction, Σ prediction², Σ prediction × truth
    sums: tuple[int, ...]
    #: of |d|, d² and (d + 1) ÷ 2
    clusters: tuple[PatientSums, PatientSums, PatientSums]
    #: in UNIT, about the hospital's means: Σ truth², Σ prediction², Σ (prediction + truth)²
    own: tuple[int, int, int]
    #: images whose true value is outside the range
    outside: int
    #: [ERRORS] images by |d|; [GROUPS] images by prediction; [GROUPS] in UNIT: Σ prediction, Σ truth of those
    errors: Ints
    groups: Ints
    predicted: Ints
    true: Ints

    LENGTH = 2 + 8 + 6 + 3 + 1 + ERRORS + 3 * GROUPS

    @classmethod
    def of(cls, predicted: Floats, true: Floats, patients: Ints) -> "Differences":
        """Of one hospital: scaled values [n], patient index [n]; n may be 0."""
        outside = int(np.count_nonzero((true < 0) | (true > 1)))
        p, y = np.clip(predicted, 0.0, 1.0), np.clip(true, 0.0, 1.0)
        d = p - y
        shifted = (d + 1) / 2
        _, images = np.unique(patients, return_counts=True)
        group = np.minimum((p * GROUPS).astype(np.int64), GROUPS - 1)
        error = np.minimum((np.abs(d) * ERRORS).astype(np.int64), ERRORS - 1)
        sums = (np.abs(d), d**2, shifted, y, y**2, p, p**2, p * y)
        return cls(
            patients=len(images),
            squares=int(images @ images),
            sums=tuple(_fixed(float(values.sum())) for values in sums),
            clusters=_three(PatientSums.of(values, patients) for values in (np.abs(d), d**2, shifted)),
            own=_three(_fixed(float(((v - v.mean()) ** 2).sum()) if len(v) else 0.0) for v in (y, p, p + y)),
            outside=outside,
            errors=np.bincount(error, minlength=ERRORS),
            groups=np.bincount(group, minlength=GROUPS),
            predicted=np.rint(UNIT * np.bincount(group, p, GROUPS)).astype(np.int64),
            true=np.rint(UNIT * np.bincount(group, y, GROUPS)).astype(np.int64),
        )

    def to_integers(self) -> list[int]:
        """`LENGTH` integers, none negative."""
        head = [self.patients, self.squares, *self.sums, *(v for sums in self.clusters for v in sums)]
        arrays = [v for part in (self.errors, self.groups, self.predicted, self.true) for v in part.tolist()]
        return [*head, *self.own, self.outside, *arrays]

    @classmethod
    def from_integers(cls, values: Sequence[int]) -> "Differences":
        """The inverse, of one hospital or of a sum. Raises OperatorError for what no hospitals can have sent."""
        if max(values) >= 2**62 or min(values) < 0:
            raise unlikely("sums of 0 or more, within 62 bits", "others")
        arrays = np.split(np.array(values[20:], np.int64), np.cumsum([ERRORS, GROUPS, GROUPS]))
        clusters = _three(PatientSums(*values[k : k + 2]) for k in (10, 12, 14))
        found = cls(values[0], values[1], tuple(values[2:10]), clusters, _three(values[16:19]), values[19], *arrays)
        found._check()
        return found

    def _check(self) -> None:
        most = UNIT * self.images + 1
        within = max(self.sums, default=0) <= most + 200 and max(self.own) <= 4 * (most + 200)
        if self.images >= 2**38 or self.images != int(self.groups.sum()) or not within or self.outside > self.images:
            raise unlikely(f"sums of {self.images} images with values in their range", "others")

    @property
    def images(self) -> int:
        """Images counted."""
        return int(self.errors.sum())

    @property
    def absolute(self) -> Mean:
        """Mean of |prediction − truth|."""
        return self._mean(0)

    @property
    def square(self) -> Mean:
        """Mean of its square."""
        return self._mean(1)

    @property
    def bias(self) -> Mean:
        """Mean of prediction − truth."""
        found = self._mean(2)
        return Mean(2 * found.value - 1, 2 * found.deviation, found.patients)

    def _mean(self, which: int) -> Mean:
        """Ratio of sums over patients (Cochran, Sampling Techniques, 3rd ed., eq. 6.13)."""
        n, many = self.images, self.patients
        if not n:
            return Mean(nan, nan)
        mean, sums = self.sums[which] / UNIT / n, self.clusters[which]
        if many < 2:
            return Mean(mean, nan)
        spread = sums.squares / SQUARE_UNIT - 2 * mean * sums.both / SQUARE_UNIT + mean**2 * self.squares
        return Mean(mean, sqrt(max(0.0, spread) * many / (many - 1)) / n, many)

    @property
    def spread(self) -> float:
        """Standard deviation of prediction − truth."""
        return sqrt(max(0.0, self.square.value - self.bias.value**2)) if self.images else nan

    def determination(self, *, within: bool) -> float:
        """R²: 1 − Σ d² ÷ Σ (truth − mean)², the mean being all hospitals' or, `within`, each one's own."""
        total = self.own[0] / UNIT if within else self._about(3, 3, 4)
        return 1 - self.sums[1] / UNIT / total if total > 0 else nan

    def correlation(self, *, within: bool) -> float:
        """Pearson's, about all hospitals' means or, `within`, each one's own."""
        if within:
            truth, predicted, both = (value / UNIT for value in self.own)
            crossed = (both - truth - predicted) / 2
        else:
            truth, predicted, crossed = self._about(3, 3, 4), self._about(5, 5, 6), self._about(5, 3, 7)
        return max(-1.0, min(1.0, crossed / sqrt(truth * predicted))) if min(truth, predicted) > 0 else nan

    def _about(self, first: int, second: int, product: int) -> float:
        """Σ (u − ū)(v − v̄) of two of `sums`, and of that of their product; 0 where rounding leaves less."""
        if not self.images:
            return 0.0
        n, rounding = self.images, 1e-9 * self.images
        found = self.sums[product] / UNIT - self.sums[first] / UNIT * self.sums[second] / UNIT / n
        return found if abs(found) > rounding else 0.0

    def quantile(self, share: float) -> float:
        """|prediction − truth| that so large a share of the images stays below, within its part of [0, 1] by line."""
        if not self.images:
            return nan
        sums = np.r_[0, np.cumsum(self.errors)] / self.images
        return float(np.interp(share, sums, np.arange(ERRORS + 1) / ERRORS))


def mean_interval(mean: Mean) -> tuple[float, float]:
    """95 % interval, by Student's distribution; (nan, nan) of fewer than two patients."""
    margin = width(mean.patients) * mean.deviation
    return mean.value - margin, mean.value + margin


def _fixed(value: float) -> int:
    return round(UNIT * value)


def _three(values: Iterable[T]) -> tuple[T, T, T]:
    first, second, third = values
    return first, second, third
