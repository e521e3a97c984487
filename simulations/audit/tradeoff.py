"""What guesses about canaries prove of a whole privacy curve: the one-run audit of Mahloujifar, Melis, Chaudhuri 2024
(arXiv 2410.22235), which is tighter than one (ε, δ) of it, and for Gaussian noise much so.

With p_i the chance of exactly i right guesses of r about m canaries: take one canary at random, and flip whether it
took part. What was a right guess becomes a wrong one, so that, if no event's chance x may fall below `curve.least`(x),

    Σ_{i ≥ j} (r − i + 1) p_{i−1} ÷ m  ≥  least( Σ_{i ≥ j} i p_i ÷ m )          for every j (their main theorem, k = 2)

Supposing that v or more right guesses had a chance of `level`, the inequalities force chances on v − 1, v − 2, … right
guesses too. Where all together come to more than 1, the supposition is wrong: the guesses contradict the curve.

    >>> claim = curve_of(noise_multiplier=4.0, sampling_rate=1.0, steps=1)
    >>> contradicted(Guesses(canaries=1000, made=500, right=400), claim, level=0.05)
    True
"""

import bisect
import functools
import math
from collections.abc import Sequence

import numpy as np

from simulations.audit.curve import Curve, curve_of
from simulations.audit.guesses import Guesses

#: Chances between which `least` is looked up, in steps of 0.5 % near 0 and near 1. Rounded down: it contradicts less.
_FINE = np.geomspace(1e-9, 0.5, 4000)
_CHANCES = np.union1d(_FINE, 1 - _FINE)
#: The noise is looked for between an eighth of what is claimed and 2^8 times it, by so many halvings.
_FROM, _TO, _HALVINGS = -3.0, 8.0, 13


def contradicted(guesses: Guesses, curve: Curve, *, level: float) -> bool:
    """Whether so many right guesses have a chance below `level` in every run that keeps `curve` (their algorithm)."""
    size, made = guesses.canaries, guesses.made
    if made == 0 or guesses.right == 0:
        return False
    chances, least = _table(curve)
    right = level * guesses.right / size
    wrong = level * (made - guesses.right) / size
    for count in range(guesses.right - 1, -1, -1):
        place = bisect.bisect_right(chances, right) - 1
        needed = least[place] if place >= 0 else 0.0
        if needed > wrong:
            right += (needed - wrong) * count / (made - count)
            wrong = needed
        if right + wrong > made / size:
            return True
    return False


@functools.lru_cache(maxsize=64)
def _tables(epsilons: bytes, deltas: bytes) -> tuple[list[float], list[float]]:
    curve = Curve(np.frombuffer(epsilons), np.frombuffer(deltas))
    return _CHANCES.tolist(), curve.least(_CHANCES).tolist()


def _table(curve: Curve) -> tuple[list[float], list[float]]:
    return _tables(curve.epsilons.tobytes(), curve.deltas.tobytes())


def least_refuted(
    guesses: Sequence[Guesses], *, sampling_rate: float, steps: int, claimed: float, level: float
) -> float:
    """The least noise multiplier that the guesses contradict, to 0.1 %, among sampled Gaussians of this rate and so
    many steps, from an eighth of the `claimed` one on; inf if none. Each set of guesses is held against `level`."""

    def refuted(sigma: float) -> bool:
        curve = curve_of(noise_multiplier=sigma, sampling_rate=sampling_rate, steps=steps)
        return any(contradicted(each, curve, level=level) for each in guesses)

    low, high = _FROM, _TO
    if not refuted(claimed * 2.0**high):
        return math.inf
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(claimed * 2.0**middle) else (middle, high)
    return float(claimed * 2.0**high)
