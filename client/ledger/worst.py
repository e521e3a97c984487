"""The patient who has spent most: found exactly, without working out every patient's ε.

ε of a patient is the least over the Rényi orders α of f_α = Σ divergences(α) + c_α (shared/renyi.py), so at every α it
is at most f_α. Hence, for the largest ε over patients:

1. Take one order; f_α of all sets of cohorts is one sum each. The set with the largest is worked out exactly.
2. No set whose f_α does not exceed an ε already found can have more. Mostly that leaves none, and it is done;
   else go on with those left, at the order that decided for the one just worked out.

To 1e-9 of the ε: sets nearer to each other than rounding are taken for equals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.ledger.exposure import Exposures
from shared.renyi import ORDERS, Curve

_NEAR = 1e-9


@dataclass(frozen=True)
class Spending:
    """What each cohort has spent. `divergence` float64 [K, orders] at `ORDERS`; `epsilon` and `delta` float64 [K], the
    sums of what was stated. Row i is cohort i; row 0 is spent by everyone."""

    divergence: NDArray[np.float64]
    epsilon: NDArray[np.float64]
    delta: NDArray[np.float64]


def epsilons(exposures: Exposures, spending: Spending, delta: float) -> NDArray[np.float64]:
    """ε at `delta` of the patients of each set, float64 [G], every one worked out."""
    found = np.full(len(exposures), np.inf)
    for place in range(len(ORDERS)):
        found = np.minimum(found, _at_most(exposures, spending, delta, place))
    return found


def worst(exposures: Exposures, spending: Spending, delta: float) -> int:
    """The set whose patients have the largest ε at `delta`: its row in `exposures`."""
    rows, left, place = np.arange(len(exposures)), exposures, _start(spending)
    best, found, tried = -np.inf, 0, set[int]()
    while len(left):
        tried.add(place)
        most = _at_most(left, spending, delta, place)
        top = int(most.argmax())
        epsilon, place = _worked_out(left.cohorts(top), spending, delta)
        if epsilon > best:
            best, found = epsilon, int(rows[top])
        keep = np.flatnonzero(most > best + _NEAR * max(1.0, best)) if best < np.inf else np.zeros(0, dtype=np.int64)
        rows, left = rows[keep], left.only(keep)
        if place in tried and len(left):  # nothing more to learn from one order: the few that are left, one and all
            rest = epsilons(left, spending, delta)
            return int(rows[rest.argmax()]) if rest.max() > best else found
    return found


def _start(spending: Spending) -> int:
    """An order to begin with: where somebody in every cohort would have the least, at a δ as good as any."""
    return int((spending.divergence.sum(axis=0) + _constants(1e-5)).argmin())


def _constants(left: float) -> Curve:
    """c_α at each of ORDERS where `left` is what is left of δ, above 0."""
    return np.asarray(np.log1p(-1 / ORDERS) - (np.log(left) + np.log(ORDERS)) / (ORDERS - 1))


def _at_most(exposures: Exposures, spending: Spending, delta: float, place: int) -> NDArray[np.float64]:
    """f_α [G] at the order at `place`, and what was stated; infinite where that has used δ up."""
    divergence, order = exposures.sums(spending.divergence[:, place]), ORDERS[place]
    if not spending.epsilon.any() and not spending.delta.any():
        return np.where(divergence > 0, np.maximum(0.0, divergence + _constants(delta)[place]), 0.0)
    left = delta - exposures.sums(spending.delta)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaussian = divergence + np.log1p(-1 / order) - (np.log(left) + np.log(order)) / (order - 1)
    gaussian = np.where(divergence > 0, np.where(left > 0, np.maximum(0.0, gaussian), np.inf), 0.0)
    return np.where(left >= 0, gaussian + exposures.sums(spending.epsilon), np.inf)


def _worked_out(cohorts: Sequence[int], spending: Spending, delta: float) -> tuple[float, int]:
    """ε of a patient who is in `cohorts`, and the place of the order that decides."""
    cohorts = [cohort for cohort in cohorts if cohort < len(spending.epsilon)]
    left, stated = delta - float(spending.delta[cohorts].sum()), float(spending.epsilon[cohorts].sum())
    divergence = spending.divergence[cohorts].sum(axis=0)
    if not divergence.any():
        return (stated if left >= 0 else np.inf), 0
    if left <= 0:
        return np.inf, 0
    each = divergence + _constants(left)
    place = int(each.argmin())
    return max(0.0, float(each[place])) + stated, place
