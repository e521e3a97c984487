"""How well masks of structures agree with those drawn by people: integers that add up over hospitals, and the figures
of a sum. No torch.

Rules for what is empty, for one structure in one image:
- Dice, 2 |A ∩ B| / (|A| + |B|), and surface Dice are of images that have the structure; 0 where it was not found.
- The Hausdorff distance is of images where it is and was found; how often it was missed stands beside it.
- Where it is not, but was found, is an alarm, and moves no other figure but the pooled Dice.

A patient's images are not independent, so the interval of a mean is that of a ratio of sums over patients (Cochran,
Sampling Techniques, 1977, eq. 2.39): their sums of squares add up over hospitals too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

from shared.errors import unlikely
from shared.judged import Curve, Figure, Judged, Table, known
from shared.shares import interval

Floats = NDArray[np.float64]

#: Numbers kept of each structure in an image: pixels shared, found and drawn; distance (nan where there is none);
#: surface Dice.
MEASURES = 5
#: Fixed point of shares, of their squares summed by patient, and of distances.
SHARE, SQUARE, LENGTH = 1 << 20, 1 << 10, 1 << 10
#: Equal parts of [0, 1] in which images are counted by their Dice.
BINS = 50
#: No sum of hospitals reaches it.
MOST = 2**56


@dataclass(frozen=True)
class Structure:
    """Sums over images of one structure. `with_it` and `without`: images that have it or not; `missed` of the first;
    `alarms` among the others; `both`: found where it is. `shared`, `found`, `drawn` in pixels. `dice` and `surface` in
    SHARE, `distance` in LENGTH; by patient p with n_p images that sum to d_p: Σ d_p², Σ d_p n_p (in SQUARE), Σ n_p²."""

    with_it: int
    without: int
    missed: int
    alarms: int
    both: int
    shared: int
    found: int
    drawn: int
    dice: int
    surface: int
    distance: int
    patients: int
    squares: int
    products: int
    sizes: int
    histogram: tuple[int, ...]

    @classmethod
    def of(cls, measures: Floats, patients: NDArray[np.int64]) -> "Structure":
        """Of images with the `measures` [n, MEASURES], of `patients` [n]."""
        has, got = measures[:, 2] > 0, measures[:, 1] > 0
        own = measures[has]
        dice = 2 * own[:, 0] / (own[:, 1] + own[:, 2])
        both = own[has[has] & got[has]]
        whose, owner = np.unique(patients[has], return_inverse=True)
        d, n = np.bincount(owner, dice, len(whose)), np.bincount(owner, minlength=len(whose))
        bins = np.minimum((dice * BINS).astype(np.int64), BINS - 1)
        return cls(
            with_it=int(has.sum()),
            without=int((~has).sum()),
            missed=int((has & ~got).sum()),
            alarms=int((~has & got).sum()),
            both=len(both),
            shared=round(float(measures[:, 0].sum())),
            found=round(float(measures[:, 1].sum())),
            drawn=round(float(measures[:, 2].sum())),
            dice=round(float(dice.sum()) * SHARE),
            surface=round(float(own[:, 4].sum()) * SHARE),
            distance=round(float(both[:, 3].sum()) * LENGTH),
            patients=len(whose),
            squares=round(float(d @ d) * SQUARE),
            products=round(float(d @ n) * SQUARE),
            sizes=int(n @ n),
            histogram=tuple(np.bincount(bins, minlength=BINS).tolist()),
        )

    def to_integers(self) -> list[int]:
        """`INTEGERS` of them, none negative."""
        return [*(getattr(self, field.name) for field in fields(self)[:-1]), *self.histogram]

    @classmethod
    def from_integers(cls, values: Sequence[int]) -> "Structure":
        """The inverse. Raises OperatorError for sums that no hospitals can have sent."""
        sums, histogram = values[: INTEGERS - BINS], tuple(values[INTEGERS - BINS :])
        names = [field.name for field in fields(cls)[:-1]]
        made = cls(histogram=histogram, **dict(zip(names, sums, strict=True)))
        if min(values) < 0 or max(values) >= MOST:
            raise unlikely(f"sums from 0 to {MOST}", "others")
        most = (made.with_it + 1) * SHARE
        right = (
            sum(made.histogram) == made.with_it,
            made.missed + made.both == made.with_it,
            made.alarms <= made.without,
            made.patients <= made.with_it,
            made.shared <= min(made.found, made.drawn),
            max(made.dice, made.surface) <= most,
        )
        if not all(right):
            raise unlikely("counts of images and pixels that agree with each other", "others")
        return made

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the images that have it; nan without."""
        return min(1.0, self.dice / (SHARE * self.with_it)) if self.with_it else nan

    @property
    def deviation(self) -> float:
        """Standard deviation of `mean_dice`, patients as clusters; nan for fewer than two patients."""
        if self.patients < 2:
            return nan
        mean = self.mean_dice
        spread = (self.squares - 2 * mean * self.products) / SQUARE + mean**2 * self.sizes
        return sqrt(max(0.0, spread) * self.patients / (self.patients - 1)) / self.with_it

    @property
    def pooled_dice(self) -> float:
        """Dice of all pixels of all images together."""
        return 2 * self.shared / (self.found + self.drawn) if self.found + self.drawn else nan

    @property
    def mean_surface(self) -> float:
        """Mean surface Dice of the images that have it."""
        return min(1.0, self.surface / (SHARE * self.with_it)) if self.with_it else nan

    @property
    def mean_distance(self) -> float:
        """Mean Hausdorff distance of the images where it is and was found."""
        return self.distance / (LENGTH * self.both) if self.both else nan

    def quantile(self, share: float) -> float:
        """The Dice that this `share` of the images that have it stay below, within one part of BINS."""
        if not self.with_it:
            return nan
        reached = np.cumsum(self.histogram) / self.with_it
        return float(np.interp(share, np.r_[0.0, reached], np.arange(BINS + 1) / BINS))


INTEGERS = len(fields(Structure)) - 1 + BINS


def judged(structures: Sequence[Structure], labels: Sequence[str], unit: str, tolerance: float) -> Judged:
    """Figures of the `structures` called `labels`. `unit` of distances, and the `tolerance` of the surface Dice in it.

    The headline's interval holds however the structures' errors go together: deviations are added, not their squares.
    """
    seen = [each for each in structures if each.with_it]
    mean = float(np.mean([each.mean_dice for each in seen])) if seen else nan
    deviation = float(np.mean([each.deviation for each in seen])) if seen else nan
    low, high = interval(mean, deviation, min((each.patients for each in seen), default=0))
    figures = [Figure("dice", known(mean), "Mean Dice", known(low), known(high))]
    for label, each in zip(labels, structures, strict=True):
        figures += _figures(each, label, unit)
    edges = tuple((np.arange(BINS + 1) / BINS).tolist())
    return Judged(
        kind="segmentation",
        images=max((each.with_it + each.without for each in structures), default=0),
        figures=tuple(figures),
        curves=tuple(
            Curve("Distribution of Dice", label, "Dice", "Share of images below it", edges, _below(each))
            for label, each in zip(labels, structures, strict=True)
            if each.with_it
        ),
        tables=(_table(structures, labels, unit, tolerance),),
    )


def _figures(each: Structure, label: str, unit: str) -> list[Figure]:
    low, high = interval(each.mean_dice, each.deviation, each.patients)
    named = {
        "pooled_dice": ("Dice of all pixels together", each.pooled_dice),
        "surface_dice": ("Mean surface Dice", each.mean_surface),
        "dice_tenth": ("Dice that a tenth of the images stay below", each.quantile(0.1)),
        "dice_median": ("Median Dice", each.quantile(0.5)),
    }
    return [
        Figure("structure_dice", known(each.mean_dice), "Mean Dice", known(low), known(high), of=label),
        *(Figure(name, known(value), shown, of=label) for name, (shown, value) in named.items()),
        Figure(
            "hausdorff_95",
            known(each.mean_distance),
            "Mean Hausdorff distance, 95 %",
            of=label,
            better="lower",
            unit=unit,
        ),
    ]


def _below(each: Structure) -> tuple[float, ...]:
    return (0.0, *(np.cumsum(each.histogram) / each.with_it).tolist())


def _table(structures: Sequence[Structure], labels: Sequence[str], unit: str, tolerance: float) -> Table:
    columns = ("Structure", "Images with it", "Missed", "Images without", "Alarms", "Pixels drawn", "Pixels found")
    rows = (
        (label, each.with_it, each.missed, each.without, each.alarms, each.drawn, each.found)
        for label, each in zip(labels, structures, strict=True)
    )
    note = (
        "Dice and surface Dice are means over the images that have the structure, 0 where it was missed; distances over"
        f" those where it was found. Surface Dice allows {tolerance:g} {unit}."
    )
    return Table("Structures", columns, tuple(rows), note)
