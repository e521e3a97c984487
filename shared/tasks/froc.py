"""How well boxes are found: integers that add up over hospitals, and the figures of a sum. No torch.

Of every label: how many boxes people drew, and histograms of the scores of all boxes found and of those that hit a
drawn one, at several overlaps. A drawn box is hit once, by the found box with the highest score of those that overlap
it enough; what else is found is a false alarm.

FROC score: mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false alarms per image (van Ginneken et al. 2010, Medical
Image Analysis 14:707), per label and then over labels. Average precision: area under precision, made to fall, over
recall (Everingham et al. 2010, IJCV 88:303, without their eleven points).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from shared import score_bins
from shared.errors import unlikely
from shared.judged import Curve, Figure, Judged, Table, known
from shared.score_bins import bin_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Scores are told apart in so many bins of equal width on the logit scale.
BINS = 256
#: False alarms per image at which sensitivity is read.
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: No sum of hospitals reaches it.
MOST = 2**56


@dataclass(frozen=True)
class Found:
    """One label, over `images`: boxes `drawn`; `found` [BINS] by score; `hits` [overlaps, BINS] of these."""

    images: int
    drawn: int
    found: Ints
    hits: Ints

    @classmethod
    def of(cls, label: int, measures: Floats, drawn: Floats, overlaps: int) -> "Found":
        """Of images with the `measures` [n, boxes, 2 + overlaps]: label (−1: none), score, whether it hit at each
        overlap; and `drawn` [n]."""
        rows = measures[measures[..., 0] == label]
        bins = bin_of(rows[:, 1]) * BINS // score_bins.BINS
        hits = [np.bincount(bins[rows[:, 2 + place] > 0], minlength=BINS) for place in range(overlaps)]
        return cls(len(measures), int(drawn.sum()), np.bincount(bins, minlength=BINS), np.stack(hits))

    def to_integers(self) -> list[int]:
        """`length_of` of them, none negative."""
        return [self.images, self.drawn, *self.found.tolist(), *self.hits.ravel().tolist()]

    @classmethod
    def from_integers(cls, values: Sequence[int]) -> "Found":
        """The inverse. Raises OperatorError for sums that no hospitals can have sent."""
        if min(values) < 0 or max(values) >= MOST:
            raise unlikely(f"sums from 0 to {MOST}", "others")
        made = cls(values[0], values[1], np.array(values[2 : 2 + BINS]), np.array(values[2 + BINS :]).reshape(-1, BINS))
        empty = not made.images and (made.drawn or made.found.any())
        if empty or (made.hits > made.found).any() or (made.hits.sum(axis=1) > made.drawn).any():
            raise unlikely("hits among what was drawn and found in images", "others")
        return made

    def sensitivity(self, place: int = 0) -> tuple[Floats, Floats]:
        """False alarms per image and sensitivity, [BINS + 1] each, from (0, 0) on, as lower scores are counted in."""
        hits = np.r_[0, np.cumsum(self.hits[place][::-1])]
        alarms = np.r_[0, np.cumsum((self.found - self.hits[place])[::-1])]
        return alarms / max(1, self.images), hits / max(1, self.drawn)

    def at(self, rate: float) -> float:
        """Sensitivity at `rate` false alarms per image, between two scores by the straight line; nan without boxes."""
        if not self.drawn:
            return nan
        alarms, hits = self.sensitivity()
        last = int(np.searchsorted(alarms, rate, "right")) - 1  # the highest of those at one rate
        if last == len(alarms) - 1:
            return float(hits[-1])
        part = (rate - alarms[last]) / (alarms[last + 1] - alarms[last])
        return float(hits[last] + part * (hits[last + 1] - hits[last]))

    @property
    def score(self) -> float:
        """Mean sensitivity at RATES."""
        return float(np.mean([self.at(rate) for rate in RATES]))

    def precision(self, place: int = 0) -> tuple[Floats, Floats]:
        """Recall and precision, [BINS] each, precision never rising."""
        hits = np.cumsum(self.hits[place][::-1])
        found = np.cumsum(self.found[::-1])
        shares = hits / np.maximum(1, found)
        return hits / max(1, self.drawn), np.maximum.accumulate(shares[::-1])[::-1]

    def average_precision(self, place: int = 0) -> float:
        """At one of the overlaps; nan without boxes."""
        if not self.drawn:
            return nan
        recall, precision = self.precision(place)
        return float(np.diff(recall, prepend=0.0) @ precision)


def length_of(overlaps: int) -> int:
    """Integers of one label."""
    return 2 + BINS * (1 + overlaps)


def judged(labels: Sequence[str], every: Sequence[Found], overlaps: Sequence[float]) -> Judged:
    """Figures of `every` label, the first of the `overlaps` being that of the headline."""
    images = max((each.images for each in every), default=0)
    seen = [each for each in every if each.drawn]
    score = float(np.mean([each.score for each in seen])) if seen else nan
    precisions = [[each.average_precision(place) for place in range(1, len(overlaps))] for each in seen]
    figures = [
        Figure("froc_score", known(score), "FROC score"),
        Figure("mean_average_precision", known(_mean(precisions)), _words("Mean average precision", overlaps[1:])),
    ]
    for label, each in zip(labels, every, strict=True):
        first = f"overlap of {overlaps[0]:g}"
        figures += [
            Figure("label_froc_score", known(each.score), "FROC score", of=label),
            Figure("average_precision", known(each.average_precision()), f"Average precision, {first}", of=label),
            Figure("sensitivity_at_1", known(each.at(1.0)), "Sensitivity at one false alarm per image", of=label),
            Figure("drawn", each.drawn, "Boxes drawn by people", of=label),
        ]
    return Judged(
        kind="detection",
        images=images,
        figures=tuple(figures),
        curves=tuple(_curves(labels, every)),
        tables=(_table(labels, every),),
    )


def _curves(labels: Sequence[str], every: Sequence[Found]) -> list[Curve]:
    curves = []
    for label, each in zip(labels, every, strict=True):
        if each.drawn:
            alarms, hits = each.sensitivity()
            recall, precision = each.precision()
            lines = [tuple(map(float, line)) for line in (alarms, hits, recall, precision)]
            curves += [
                Curve("FROC", label, "False alarms per image", "Sensitivity", lines[0], lines[1]),
                Curve("Precision and recall", label, "Recall", "Precision", lines[2], lines[3]),
            ]
    return curves


def _table(labels: Sequence[str], every: Sequence[Found]) -> Table:
    columns = ("Label", "Boxes drawn", *(f"{rate:g} false alarms" for rate in RATES))
    rows = (
        (label, each.drawn, *(known(each.at(rate)) for rate in RATES))
        for label, each in zip(labels, every, strict=True)
    )
    return Table("Sensitivity by false alarms per image", columns, tuple(rows))


def _words(shown: str, overlaps: Sequence[float]) -> str:
    return f"{shown} at overlaps of {', '.join(f'{overlap:g}' for overlap in overlaps)}"


def _mean(values: Sequence[Sequence[float]]) -> float:
    return float(np.mean(values)) if values else nan
