"""The headline figures of a record, of whatever kind of task: the federation's, a baseline's, a subgroup's.

Guarantees: records of older versions, which know areas under curves only, have theirs too.

    >>> named(head)
    'site-stratified AUC'
"""

import math

from msgspec.structs import replace

from server.report.result import Baseline, Result
from shared.judged import Figure, goodness
from shared.tasks.registry import kind_of

AREA = Figure("stratified_auc", None, "Site-stratified AUC")


def head_of(result: Result) -> Figure:
    """The federation's headline on the test patients; without a value where there is none."""
    if result.judged is not None:
        return result.judged.headline
    if (found := result.metrics) is not None:
        return replace(AREA, value=found.stratified_auc, low=found.stratified_low, high=found.stratified_high)
    kind = kind_of(result.study.text)
    return kind.judge([0] * kind.counts).headline


def baseline_head(baseline: Baseline) -> Figure:
    """A baseline's, on the same patients."""
    if baseline.judged is not None:
        return baseline.judged.headline
    return replace(AREA, value=baseline.stratified_auc, low=baseline.low, high=baseline.high)


def named(figure: Figure) -> str:
    """Its name inside a sentence."""
    first, rest = figure.shown[:1], figure.shown[1:]
    return f"{first.lower()}{rest}" if rest[:1].islower() else figure.shown


def worse_end(figure: Figure) -> float:
    """The goodness of the worse end of its interval: −∞ without one."""
    end = figure.low if figure.better == "higher" else figure.high
    return -math.inf if end is None else goodness(replace(figure, value=end))


def better_end(figure: Figure) -> float:
    """The goodness of the better end of its interval: +∞ without one."""
    end = figure.high if figure.better == "higher" else figure.low
    return math.inf if end is None else goodness(replace(figure, value=end))
