"""FedDyn's coordinator (Acar et al. 2021, arXiv 2111.04263, algorithm 1).

    h ← h − α × share × Σ p_i Δ_i        w ← w + Σ p_i Δ_i − h ÷ α

p_i are the shares of the images in the sum, `share` those of all hospitals' images that it holds: the paper's 1 ÷ m
times the sum over who takes part, for hospitals of unequal size.
"""

import numpy as np

from server.strategies.base import Weights
from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.options import Regularised
from shared.update import Update

#: h.
SLOTS = 1


def rule_of(options: Regularised) -> Rule:
    """The rule of `options`."""

    def rule(before: Moving, update: Update, crowd: Crowd) -> Moving:
        memory: Weights = before.slots[0] * np.float32(crowd.grown)
        memory = memory - update.mean * np.float32(options.alpha * crowd.share)
        weights: Weights = before.weights + update.mean - memory * np.float32(1 / options.alpha)
        return Moving(weights, (memory,), before.steps + 1)

    return rule
