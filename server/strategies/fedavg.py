"""FedAvg (McMahan et al. 2017, algorithm 1): the model moves by the weighted mean of the hospitals' updates.

With `server_rate` and `server_momentum` the mean is a step's direction (Hsu, Qi, Brown 2019, arXiv 1909.06335, and
Flower's FedAvgM): v ← m v + Δ, w ← w + rate × v. FedProx is the same here: what differs is what hospitals do.

>>> state = apply(init(np.zeros(2, np.float32)), np.ones(2, np.float32), averaging=0.5)
>>> apply(state, np.ones(2, np.float32), averaging=0.5).result.tolist()  # (1·½ + 2) ÷ 1½
[1.6666666269302368, 1.6666666269302368]
"""

from dataclasses import replace

import numpy as np

from server.strategies.base import State, Weights, averaged
from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.options import Averaging
from shared.update import Update


def init(weights: Weights) -> State:
    """The state before the first round."""
    return State(weights, weights)


def apply(state: State, mean_update: Weights, *, averaging: float) -> State:
    """The state after a round whose weighted mean update is `mean_update` [d], at rate 1."""
    weights = state.weights + mean_update
    result, mass = averaged(state, weights, averaging)
    return replace(state, weights=weights, result=result, mass=mass)


def slots_of(options: Averaging) -> int:
    """How many vectors the coordinator remembers."""
    return int(options.server_momentum > 0)


def rule_of(options: Averaging) -> Rule:
    """The rule of `options`."""

    def rule(before: Moving, update: Update, crowd: Crowd) -> Moving:
        del crowd
        return moved(before, update.mean, options)

    return rule


def moved(before: Moving, mean: Weights, options: Averaging) -> Moving:
    """After the mean update `mean` [d]."""
    slots = before.slots
    if slots:
        mean = np.float32(options.server_momentum) * slots[0] + mean
        slots = (mean,)
    return Moving(before.weights + np.float32(options.server_rate) * mean, slots, before.steps + 1)
