"""Who was trained on, guessed from the final model alone: LiRA (Carlini et al. 2022, arXiv 2112.03570), by patient.

Shadow models are trained as the model was, on random halves of the patients. The statistic of a patient is the logit
of the probability of the true label, averaged over the patient's images. How it is spread over the shadows that had the
patient, and over those that had not, is taken for normal, with one variance each for all patients (theirs for few
shadows); the attack's score is the log-likelihood ratio of the two at the model that is attacked.

Pure. Intervals are of 95 %: DeLong, DeLong, Clarke-Pearson 1988 of the area, Clopper and Pearson 1934 of rates.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, rankdata

from shared.errors import MisuseError
from shared.wire import Record

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: False alarms among patients who were not trained on, at which the share found is reported.
RATES = (0.01, 0.001)
#: Bars of the histogram.
BARS = 24
#: A probability is taken for no nearer to 0 or 1 than float32 softmax tells apart.
EDGE = 1e-7


class Rate(Record, frozen=True):
    """At `false` of those not trained on wrongly called, or fewer, the share `found` of those trained on, with its
    interval; `allowed`: the most that the privacy accounted for lets any attack find, None where there is none."""

    false: float
    found: float
    low: float
    high: float
    allowed: float | None = None


class Membership(Record, frozen=True):
    """The attack's figures. `edges` [BARS + 1] of the scores' histogram, with the counts of `inside` and `outside`."""

    shadows: int
    members: int
    others: int
    auc: float
    low: float
    high: float
    rates: tuple[Rate, ...]
    edges: tuple[float, ...]
    inside: tuple[int, ...]
    outside: tuple[int, ...]


def halves(patients: int, shadows: int, rng: np.random.Generator) -> Flags:
    """Who is in which shadow's training, [shadows, patients]: every patient in just half of them."""
    if shadows < 4 or shadows % 2:
        raise MisuseError("shadows", expected="an even number of at least 4", got=str(shadows))
    drawn: Flags = rng.permuted(np.tile(np.arange(shadows) < shadows // 2, (patients, 1)), axis=1).T
    return drawn


def statistic(scores: NDArray[np.float32], label: NDArray[np.int64], patient: NDArray[np.int64]) -> Floats:
    """Mean logit of the true label, of every patient 0 … max, from the images' probabilities of label 1."""
    right = np.where(label == 1, scores, 1 - scores.astype(np.float64)).clip(EDGE, 1 - EDGE)
    logits = np.log(right) - np.log1p(-right)
    mean: Floats = np.bincount(patient, weights=logits) / np.bincount(patient)
    return mean


def ratios(target: Floats, shadows: Floats, inside: Flags) -> Floats:
    """Log-likelihood ratio of each patient [n] from the statistics of the `target` [n] and the `shadows` [s, n]."""
    found = np.zeros(len(target))
    for taken, sign in ((inside, 1), (~inside, -1)):
        count = taken.sum(axis=0)
        mean = np.where(taken, shadows, 0.0).sum(axis=0) / count
        square = np.where(taken, (shadows - mean) ** 2, 0.0).sum() / (count - 1).sum()
        found += sign * (-((target - mean) ** 2) / (2 * square) - np.log(square) / 2)
    return found


def judged(scores: Floats, member: Flags, *, shadows: int, allowed: Sequence[float | None] = ()) -> Membership:
    """How well `scores` [n] tell members from others; `allowed` for each of RATES."""
    if member.all() or not member.any():
        raise MisuseError("membership", expected="patients trained on, and others", got="one kind only")
    inside, outside = scores[member], scores[~member]
    area, deviation = _area(inside, outside)
    edges = np.linspace(float(np.quantile(scores, 0.005)), float(np.quantile(scores, 0.995)), BARS + 1)
    bounds = list(allowed) or [None] * len(RATES)
    return Membership(
        shadows=shadows,
        members=len(inside),
        others=len(outside),
        auc=area,
        low=max(0.0, area - 1.96 * deviation),
        high=min(1.0, area + 1.96 * deviation),
        rates=tuple(_rate(inside, outside, rate, most) for rate, most in zip(RATES, bounds, strict=True)),
        edges=tuple(map(float, edges)),
        inside=_counts(inside, edges),
        outside=_counts(outside, edges),
    )


def _area(inside: Floats, outside: Floats) -> tuple[float, float]:
    """The area under the curve, and its standard deviation (DeLong; by ranks as in Sun and Xu 2014)."""
    m, n = len(inside), len(outside)
    both = rankdata(np.concatenate([inside, outside]))
    above = (both[:m] - rankdata(inside)) / n  # of each member, the share of others below
    below = 1 - (both[m:] - rankdata(outside)) / m
    variance = sum(float(np.var(part, ddof=1)) / len(part) for part in (above, below) if len(part) > 1)
    return float(above.mean()), variance**0.5


def _rate(inside: Floats, outside: Floats, false: float, allowed: float | None) -> Rate:
    """The threshold is the least that so few of `outside` are above."""
    most = int(false * len(outside))
    threshold = np.sort(outside)[::-1][most]
    count, hits = len(inside), int((inside > threshold).sum())
    low = float(beta.ppf(0.025, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, count - hits)) if hits < count else 1.0
    return Rate(false=false, found=hits / count, low=low, high=high, allowed=allowed)


def _counts(scores: Floats, edges: Floats) -> tuple[int, ...]:
    """Per bar; what is beyond the ends counts to the last."""
    return tuple(int(n) for n in np.histogram(scores.clip(edges[0], edges[-1]), edges)[0])
