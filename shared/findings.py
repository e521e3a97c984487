"""Several findings beside each other: their mean, and their lines in the same charts.

>>> macro_area(()).value is None
True
"""

from collections.abc import Sequence
from math import sqrt

from shared.finding import Finding
from shared.judged import Curve, Figure, known
from shared.shares import area_interval


def macro_area(findings: Sequence[Finding]) -> Figure:
    """Mean site-stratified AUC that there are. Its interval is as wide as if all of them moved together: how
    they do is not counted."""
    there = [finding.counts for finding in findings if finding.counts.pairs]
    if not there:
        return Figure("macro_auc", None, "Mean site-stratified AUC")
    mean = sum(counts.stratified_auc for counts in there) / len(there)
    low, high = area_interval(mean, sum(sqrt(counts.pair_variance) / counts.pairs for counts in there) / len(there))
    return Figure("macro_auc", mean, "Mean site-stratified AUC", known(low), known(high))


def curves_of(findings: Sequence[Finding]) -> tuple[Curve, ...]:
    """ROC, precision and calibration of all, the lines of one kind in one chart, in that order."""
    curves = [curve for finding in findings for curve in finding.curves(finding.of)]
    return tuple(curve for chart in dict.fromkeys(c.chart for c in curves) for curve in curves if curve.chart == chart)
