"""FedAdam, FedYogi, FedAdagrad (Reddi et al. 2021, arXiv 2003.00295, algorithm 2): the mean update Δ as a gradient.

    m ← β₁ m + (1 − β₁) Δ        w ← w + rate × m ÷ (√v + τ)
    v ← v + Δ²                              FedAdagrad
    v ← v − (1 − β₂) Δ² sign(v − Δ²)        FedYogi
    v ← β₂ v + (1 − β₂) Δ²                  FedAdam

As in Flower 1.41, whose results ours equal: v begins at 0 (the paper lets it begin at τ² or above), and FedAdam's rate
is corrected for the moments' start as Kingma and Ba (2015) do, one round ahead.
"""

import math

import numpy as np

from server.strategies.base import Weights
from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.options import Adaptive, Adding
from shared.update import Update

#: Moments remembered.
SLOTS = 2


def rule_of(name: str, options: Adaptive | Adding) -> Rule:
    """The rule of "fedadam", "fedyogi" or "fedadagrad"."""
    second = {"fedadam": _adam, "fedyogi": _yogi, "fedadagrad": _adagrad}[name]
    beta2 = options.beta2 if isinstance(options, Adaptive) else 0.0

    def rule(before: Moving, update: Update, crowd: Crowd) -> Moving:
        del crowd
        mean, steps = update.mean, before.steps + 1
        rate = options.server_rate
        if name == "fedadam":
            rate *= math.sqrt(1 - beta2 ** (steps + 1)) / (1 - options.beta1 ** (steps + 1))
        first = np.float32(options.beta1) * before.slots[0] + np.float32(1 - options.beta1) * mean
        square = second(before.slots[1], mean * mean, np.float32(beta2))
        step = np.float32(rate) * first / (np.sqrt(square) + np.float32(options.tau))
        return Moving(before.weights + step, (first, square), steps)

    return rule


def _adam(before: Weights, square: Weights, beta: np.float32) -> Weights:
    return beta * before + (np.float32(1) - beta) * square


def _yogi(before: Weights, square: Weights, beta: np.float32) -> Weights:
    found: Weights = before - (np.float32(1) - beta) * square * np.sign(before - square)
    return found


def _adagrad(before: Weights, square: Weights, beta: np.float32) -> Weights:
    del beta
    return before + square
