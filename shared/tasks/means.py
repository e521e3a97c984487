"""Mean measures of held-out patients, with intervals, from sums that can be masked.

A patient counts once: its images' measures are averaged first, so that one with many images weighs no more, and an
interval rests on what is independent. Every measure lies in a range known beforehand; what is outside is taken for its
end. Sums are fixed point, never negative: values as shares of the range, and their squares, rounded once a hospital, so
that a deviation of a ten thousandth of the range still has an interval.

    >>> means = Means(((0.0, 10.0),))
    >>> found = means.read(means.count(np.array([[2.0], [4.0], [6.0]]), np.array([0, 0, 1])))
    >>> found.patients, round(found.mean(0), 6)
    (2, 4.5)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import unlikely
from shared.judged import Better, Figure, known
from shared.shares import width
from shared.tasks.base import Floats

#: Steps of a range, of which 2^18 patients of one hospital fit into a count; no sum of patients reaches MOST.
UNIT = 1 << 29
MOST = 1 << 60


@dataclass(frozen=True)
class Known:
    """Sums over `patients` with `images`: `sums` of their shares of each range, and `squares`, both in steps."""

    ranges: tuple[tuple[float, float], ...]
    images: int
    patients: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    def mean(self, index: int) -> float:
        """Mean over patients of measure `index`; nan of nobody."""
        low, high = self.ranges[index]
        return low + (high - low) * self._share(index)

    def interval(self, index: int) -> tuple[float, float]:
        """95 % interval of the mean by the deviation between patients; nan of fewer than two."""
        if self.patients < 2:
            return math.nan, math.nan
        share, count = self._share(index), self.patients
        squares = max(1.0, self.squares[index] - count * UNIT * share**2)  # a step is what rounding may hide
        variance = squares / UNIT / (count - 1)
        low, high = self.ranges[index]
        margin = (high - low) * width(count) * math.sqrt(variance / count)
        return max(low, self.mean(index) - margin), min(high, self.mean(index) + margin)

    def figure(self, index: int, name: str, shown: str, *, better: Better = "higher", unit: str = "") -> Figure:
        """Measure `index` as a figure."""
        low, high = self.interval(index)
        return Figure(name, known(self.mean(index)), shown, known(low), known(high), better=better, unit=unit)

    def _share(self, index: int) -> float:
        return self.sums[index] / (self.patients * UNIT) if self.patients else math.nan


@dataclass(frozen=True)
class Means:
    """Measures that lie in `ranges`, each (least, greatest)."""

    ranges: tuple[tuple[float, float], ...]

    @property
    def counts(self) -> int:
        """How many integers `count` gives."""
        return 2 + 2 * len(self.ranges)

    def count(self, measures: Floats, patients: NDArray[np.int64]) -> list[int]:
        """Images, patients, and for each measure [n, measures] the sum and the sum of squares of the shares."""
        owners, place = np.unique(patients, return_inverse=True)
        low, high = np.asarray(self.ranges, np.float64).reshape(-1, 2).T
        shares = np.clip((np.nan_to_num(measures) - low) / (high - low), 0, 1)
        each = np.zeros((len(owners), len(self.ranges)))
        np.add.at(each, place, shares)
        each /= np.bincount(place, minlength=len(owners))[:, None]
        sums, squares = np.rint(each.sum(axis=0) * UNIT), np.rint((each**2).sum(axis=0) * UNIT)
        return [len(patients), len(owners), *map(int, sums), *map(int, squares)]

    def read(self, values: Sequence[int]) -> Known:
        """Sums of counts. Raises OperatorError for those that no hospitals can have sent."""
        number = len(self.ranges)
        images, patients = values[:2]
        found = Known(self.ranges, images, patients, tuple(values[2 : 2 + number]), tuple(values[2 + number :]))
        if min(values) < 0 or max(values) >= MOST or patients > images or (images > 0) != (patients > 0):
            raise unlikely("counts of patients and their images", f"{patients} patients, {images} images")
        for total, square in zip(found.sums, found.squares, strict=True):
            # Shares are at most 1, and no mean square is below the square of the mean; rounding is half a step each.
            if (
                total > patients * UNIT
                or square > total + patients
                or (total - patients) ** 2 > patients * UNIT * (square + patients)
            ):
                raise unlikely("a sum of shares and of their squares", f"{total} and {square} of {patients} patients")
        return found
