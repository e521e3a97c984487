"""SCAFFOLD's coordinator (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, equation 5).

    x ← x + rate × Σ p_i Δy_i        c ← c + share × Σ p_i Δc_i

The sum holds the hospitals' Δy and, behind it, their Δc in units of `control_unit`, under the same mask; p_i are the
shares of the images in the sum, `share` those of all hospitals' images that it holds. So c stays Σ_all p_i c_i, as the
paper's does for equal hospitals, when some are missing from a round too.
"""

import numpy as np

from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.control import control_unit
from shared.algorithms.options import Rate
from shared.study import Training
from shared.update import Update

#: The control variate c.
SLOTS = 1


def rule_of(options: Rate, training: Training) -> Rule:
    """The rule of `options` in a study that trains so."""

    def rule(before: Moving, update: Update, crowd: Crowd) -> Moving:
        size = before.weights.size
        step, change = update.mean[:size], update.mean[size:]
        weights = before.weights + np.float32(options.server_rate) * step
        scale = crowd.share / control_unit(training, crowd.round)
        control = np.float32(crowd.grown) * before.slots[0] + np.float32(scale) * change
        return Moving(weights, (control,), before.steps + 1)

    return rule
