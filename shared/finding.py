"""Every figure, curve and table of one finding, from its summed counts: what kinds of classification share.

Guarantees: a figure that the counts do not hold, or that their noise leaves no meaning, is None; thresholds come from
the counts they are chosen on and are never moved to please others. Intervals count patients as clusters where
`clusters` is there; without, those at the operating point take images as independent, and the table of them says so.

    >>> finding.figures(chosen_on=None, sensitivity=0.9)[0].name
    'stratified_auc'
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

from shared.judged import Curve, Figure, Table, known
from shared.metrics import BinaryCounts
from shared.pair_noise import is_known, share
from shared.score_bins import bin_edges
from shared.score_curves import (
    average_precision,
    brier,
    decision_curves,
    precision_curve,
    recalibration,
    reliability_curve,
    roc_curve,
)
from shared.shares import INDEPENDENT, ClassClusters, Interval, sum_interval, wilson

#: What the table at the operating point says of its intervals.
AS_CLUSTERS = "Intervals count patients, not images: images of one patient are not independent."
AS_IMAGES = "Intervals take images as independent: with several images of a patient they are too narrow."


@dataclass(frozen=True)
class Finding:
    """One finding: `counts` of its scores, `clusters` of patients if they were summed, `of` in figures."""

    counts: BinaryCounts
    clusters: ClassClusters | None = None
    of: str = ""

    @property
    def noisy(self) -> bool:
        """Whether hospitals added noise."""
        return bool(self.counts.noise.sites)

    def figures(self, chosen_on: "Finding | None", sensitivity: float) -> tuple[Figure, ...]:
        """All of them; those at the operating point only with `chosen_on`, on which it reaches `sensitivity`."""
        threshold = None if chosen_on is None else chosen_on.threshold(sensitivity)
        point = () if chosen_on is None else self._point(threshold)
        return (*self._areas(), *self._calibration(), *point)

    def threshold(self, sensitivity: float) -> int | None:
        """The operating point, as a bin; None where there may be no positives to choose it on."""
        there = is_known(float(self.counts.positives.sum()), self.counts.total_deviation**2)
        return self.counts.threshold_for(sensitivity) if there else None

    def _figure(self, name: str, value: float, shown: str, interval: Interval = (nan, nan)) -> Figure:
        low, high = map(known, interval)
        return Figure(name, known(value), shown, low, high, of=self.of)

    def _areas(self) -> tuple[Figure, ...]:
        counts = self.counts
        return (
            self._figure("stratified_auc", counts.stratified_auc, "Site-stratified AUC", counts.stratified_interval),
            self._figure("mean_site_auc", counts.mean_site_auc, "Mean of the hospitals’ AUCs"),
            self._figure("pooled_auc", counts.pooled_auc, "Pooled AUC", counts.pooled_interval),
            self._figure("average_precision", nan if self.noisy else average_precision(counts), "Average precision"),
        )

    def _calibration(self) -> tuple[Figure, ...]:
        slope, intercept = (nan, nan) if self.noisy else recalibration(self.counts)
        score = nan if self.noisy else brier(self.counts)
        errors = (
            ("calibration_error", self.counts.calibration_error, "Calibration error"),
            ("brier_score", score, "Brier score"),
        )
        return (
            *(Figure(name, known(value), shown, of=self.of, better="lower") for name, value, shown in errors),
            self._figure("calibration_slope", slope, "Calibration slope (1: neither too sure nor too timid)"),
            self._figure("calibration_intercept", intercept, "Calibration intercept (0: as many as it says)"),
            Figure("positives", self.counts.shown[1], "With the finding", of=self.of),
        )

    def _point(self, threshold: int | None) -> tuple[Figure, ...]:
        """At bins ≥ `threshold`."""
        place = nan if threshold is None or not self.counts.images else float(bin_edges()[threshold])
        rows = self._rates(threshold) if self.noisy or threshold is None else self._exact(threshold)
        return (
            *(self._figure(name, value, shown, interval) for name, value, shown, interval in rows),
            self._figure("threshold", place, "Threshold, chosen on validation"),
        )

    def _rates(self, threshold: int | None) -> Iterator[tuple[str, float, str, Interval]]:
        """What noise leaves: sensitivity and specificity."""
        none, counts = (nan, nan), self.counts
        found, clear = none if threshold is None else counts.rates(threshold)
        of_found = none if threshold is None else counts.share_interval(counts.positives, threshold)
        alarmed = none if threshold is None else counts.share_interval(counts.negatives, threshold)
        yield "sensitivity", found, "Sensitivity", of_found
        yield "specificity", clear, "Specificity", (1 - alarmed[1], 1 - alarmed[0])
        for name, shown in _AT_POINT:
            yield name, nan, shown, none

    def _exact(self, threshold: int) -> Iterator[tuple[str, float, str, Interval]]:
        """Of exact counts. Shares that mix both classes take the larger design effect of the two."""
        counts, called = self.counts, self.counts.confusion(threshold)
        tp, fn, tn, fp = map(float, called)
        missed, alarmed = self._effects(threshold)
        either = max(missed, alarmed)
        found, clear = called.sensitivity, called.specificity
        of_found, of_clear = wilson(found, (tp + fn) / missed), wilson(clear, (tn + fp) / alarmed)
        both = sum_interval(found, clear, of_found, of_clear)
        jaccard = share(tp, tp + fp + fn)
        of_jaccard = wilson(jaccard, (tp + fp + fn) / either)
        named = dict(_AT_POINT)
        yield "sensitivity", found, "Sensitivity", of_found
        yield "specificity", clear, "Specificity", of_clear
        for name, part, whole in (("ppv", tp, tp + fp), ("npv", tn, tn + fn), ("accuracy", tp + tn, counts.images)):
            value = share(part, whole)
            yield name, value, named[name], wilson(value, whole / either)
        yield "f1", _dice(jaccard), named["f1"], (_dice(of_jaccard[0]), _dice(of_jaccard[1]))
        yield "balanced_accuracy", (found + clear) / 2, named["balanced_accuracy"], (both[0] / 2, both[1] / 2)
        yield "youden", found + clear - 1, named["youden"], (both[0] - 1, both[1] - 1)

    def _effects(self, threshold: int) -> tuple[float, float]:
        if self.clusters is None:
            return INDEPENDENT
        return (
            self.clusters.positives.effect(self.counts.positives, threshold),
            self.clusters.negatives.effect(self.counts.negatives, threshold),
        )

    def curves(self, name: str) -> tuple[Curve, ...]:
        """ROC, precision over recall, reliability; `name` is the line's in each chart."""
        if not self.counts.images or self.noisy:
            return ()
        return (
            *roc_curve(self.counts, name),
            *precision_curve(self.counts, name),
            *reliability_curve(self.counts, name),
        )

    def decision(self) -> tuple[Curve, ...]:
        """Net benefit of the model, beside that of acting on everybody and on nobody."""
        return () if self.noisy else decision_curves(self.counts, self.of)

    def table(self, chosen_on: "Finding | None", sensitivity: float, names: tuple[str, str]) -> tuple[Table, ...]:
        """Confusion at the operating point; `names` of the negatives and the positives."""
        threshold = None if chosen_on is None else chosen_on.threshold(sensitivity)
        if threshold is None or not self.counts.images:
            return ()
        tp, fn, tn, fp = (max(0, count) for count in self.counts.confusion(threshold))
        (without, with_), of = names, f", {self.of}" if self.of else ""
        return (
            Table(
                title=f"At the operating point: sensitivity {sensitivity:g} on validation{of}",
                columns=("truth", f"called {with_}", f"called {without}"),
                rows=((with_, tp, fn), (without, fp, tn)),
                note="Counts carry noise." if self.noisy else AS_CLUSTERS if self.clusters else AS_IMAGES,
            ),
        )


_AT_POINT = (
    ("ppv", "PPV"),
    ("npv", "NPV"),
    ("accuracy", "Accuracy"),
    ("f1", "F1"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("youden", "Youden’s J"),
)


def _dice(jaccard: float) -> float:
    """F1 of TP ÷ (TP + FP + FN), with which it rises."""
    return 2 * jaccard / (1 + jaccard)
