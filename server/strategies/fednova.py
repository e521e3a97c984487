"""FedNova (Wang et al. 2020, arXiv 2007.07481, section 4): hospitals of many images make more steps, and no more count.

    w ← w + rate × τ × Σ p_i (Δ_i ÷ τ_i),   τ = Σ p_i τ_i

Hospitals send Δ_i ÷ τ_i for their τ_i steps of plain SGD; the masked counts hold Σ weight × τ_i. With
`training.local_steps` all τ_i are equal and this is FedAvg.
"""

import numpy as np

from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.options import Rate
from shared.update import Update


def rule_of(options: Rate) -> Rule:
    """The rule of `options`."""

    def rule(before: Moving, update: Update, crowd: Crowd) -> Moving:
        del crowd
        rate = np.float32(options.server_rate * update.steps)
        return Moving(before.weights + rate * update.mean, (), before.steps + 1)

    return rule
