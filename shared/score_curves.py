"""Curves and single figures of exact score histograms: precision, calibration, net benefit. Scores are their bins'.

Guarantees: nan, or no curve, where there is nobody of a class that is needed; every curve has finite points only.

    >>> average_precision(perfect)
    1.0
"""

from math import nan

import numpy as np

from shared.judged import Curve
from shared.metrics import BinaryCounts
from shared.score_bins import BINS, Floats, bin_centres, bin_edges

#: Points that a curve keeps at most: more are not seen.
POINTS = 128
#: Net benefits below this are not drawn: treating everybody falls without end.
LEAST_BENEFIT = -0.05
_STEPS = 50


def average_precision(counts: BinaryCounts) -> float:
    """Precision at each bin, averaged over the positives in it."""
    found, alarmed = _above(counts)
    if not found[-1] or not alarmed[-1]:
        return nan
    steps = np.diff(found, prepend=0)
    return float((steps * found / np.maximum(1, found + alarmed)).sum() / found[-1])


def brier(counts: BinaryCounts) -> float:
    """Mean square of score − truth; nan of nobody."""
    if not counts.images:
        return nan
    centres = bin_centres()
    return float(counts.positives @ (1 - centres) ** 2 + counts.negatives @ centres**2) / counts.images


def recalibration(counts: BinaryCounts) -> tuple[float, float]:
    """Slope b and intercept a of truth on the score's logit: logistic regression a' + b × logit for b, and with b held
    at 1 for a (Van Calster et al., J Clin Epidemiol 2016; 74:167–176). (nan, nan) where it has no maximum."""
    logits = np.log(bin_centres() / (1 - bin_centres()))
    positives = counts.positives.astype(np.float64)
    both = positives + counts.negatives
    if not _overlap(counts):
        return nan, nan
    slope = _logistic(np.stack([np.ones(BINS), logits], axis=1), np.zeros(BINS), positives, both)
    intercept = _logistic(np.ones((BINS, 1)), logits, positives, both)
    return (slope[1], intercept[0]) if slope is not None and intercept is not None else (nan, nan)


def roc_curve(counts: BinaryCounts, name: str) -> tuple[Curve, ...]:
    """Sensitivity over 1 − specificity, all hospitals in one ranking."""
    if not counts.positives.sum() or not counts.negatives.sum():
        return ()
    fpr, tpr = counts.roc()
    return (_curve("ROC", name, ("1 − specificity", "Sensitivity"), fpr, tpr, diagonal=True),)


def precision_curve(counts: BinaryCounts, name: str) -> tuple[Curve, ...]:
    """Precision over recall."""
    found, alarmed = _above(counts)
    if not found[-1] or not alarmed[-1]:
        return ()
    called = found + alarmed > 0
    recall, precision = found[called] / found[-1], found[called] / (found + alarmed)[called]
    return (_curve("Precision and recall", name, ("Recall (sensitivity)", "Precision (PPV)"), recall, precision),)


def reliability_curve(counts: BinaryCounts, name: str) -> tuple[Curve, ...]:
    """Share that is positive over the mean score, by tenths of the score."""
    rows = [row for row in counts.calibration() if row.images]
    x, y = np.array([row.mean_score for row in rows]), np.array([row.positive_share for row in rows])
    axes = "Mean score of the model", "Share that is positive"
    return (_curve("Calibration", name, axes, x, y, diagonal=True),) if rows else ()


def decision_curves(counts: BinaryCounts, of: str) -> tuple[Curve, ...]:
    """Net benefit of acting above a probability (Vickers and Elkin, Med Decis Making 2006; 26:565–574): of the model,
    of acting on everybody, and on nobody; `of` names the finding in the chart."""
    if not counts.positives.sum() or not counts.negatives.sum():
        return ()
    probabilities = np.arange(1, 100) / 100
    places = np.searchsorted(bin_edges(), probabilities)
    odds, images = probabilities / (1 - probabilities), counts.images
    found, alarmed = (np.append(np.cumsum(h[::-1])[::-1], 0) for h in (counts.positives, counts.negatives))
    model = (found[places] - odds * alarmed[places]) / images
    everybody = (found[0] - odds * alarmed[0]) / images
    lines = (("model", model), ("everybody", everybody), ("nobody", np.zeros(len(odds))))
    axes, chart = ("Probability above which one acts", "Net benefit"), f"Decision curve{f', {of}' if of else ''}"
    return tuple(
        _curve(chart, line, axes, probabilities[y >= LEAST_BENEFIT], y[y >= LEAST_BENEFIT]) for line, y in lines
    )


def _above(counts: BinaryCounts) -> tuple[Floats, Floats]:
    """Positives and negatives in bin −1, −2, … and all above, [BINS] each."""
    found, alarmed = (np.cumsum(h[::-1]).astype(np.float64) for h in (counts.positives, counts.negatives))
    return found, alarmed


def _overlap(counts: BinaryCounts) -> bool:
    """Whether no threshold parts the classes: else the regression runs off to infinity."""
    positive, negative = np.flatnonzero(counts.positives), np.flatnonzero(counts.negatives)
    if not len(positive) or not len(negative):
        return False
    return bool(positive[0] < negative[-1] and negative[0] < positive[-1])


def _logistic(design: Floats, offset: Floats, positives: Floats, images: Floats) -> Floats | None:
    """Coefficients [k] of the likeliest logistic regression of counts by bin, design [BINS, k]; None where Newton's
    steps do not settle."""
    beta: Floats = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset + design @ beta, -30, 30)))
        hessian = (design * (images * p * (1 - p))[:, None]).T @ design
        if np.linalg.matrix_rank(hessian) < len(beta):
            return None
        step = np.linalg.solve(hessian, design.T @ (positives - images * p))
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            return beta
    return None


def _curve(chart: str, name: str, axes: tuple[str, str], x: Floats, y: Floats, *, diagonal: bool = False) -> Curve:
    """At most POINTS of the line, its ends among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(np.int64))
    return Curve(chart, name, *axes, tuple(x[kept].tolist()), tuple(y[kept].tolist()), diagonal)
