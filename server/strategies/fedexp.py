"""FedExP (Jhunjhunwala, Wang, Joshi 2023, arXiv 2301.09604, algorithm 1): the mean update at a rate that follows from
how far hospitals' updates lie apart.

    rate = max(1, Σ p_i |Δ_i|² ÷ (2 (|Σ p_i Δ_i|² + ε))),   w ← w + rate × Σ p_i Δ_i

Where hospitals pull in different directions their mean is short, and one step of it is a timid one. All it needs is the
sum of squared lengths, which every round's masked sum holds. `most` bounds the rate. Not with privacy: noise makes
updates long, and the rate would follow the noise.
"""

import numpy as np

from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.options import Extrapolating
from shared.errors import MisuseError
from shared.update import Update


def rule_of(options: Extrapolating) -> Rule:
    """The rule of `options`."""

    def rule(before: Moving, update: Update, crowd: Crowd) -> Moving:
        del crowd
        return Moving(before.weights + np.float32(rate_of(update, options)) * update.mean, (), before.steps + 1)

    return rule


def rate_of(update: Update, options: Extrapolating) -> float:
    """The rate of a round. Raises MisuseError where the lengths of updates were not counted."""
    if update.square is None:
        raise MisuseError("update", expected="squared lengths", got="none")
    length = float(np.sum(np.square(update.mean, dtype=np.float64)))
    return min(options.most, max(1.0, update.square / (2 * (length + options.epsilon))))
