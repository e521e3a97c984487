"""Optimisers on flat vectors, as the coordinator of mode "distributed" and the private steps of a hospital use them.

`init` and `apply` on explicit, frozen state: nothing but the gradients handed in moves anything. SGD with momentum
(PyTorch's form: v ← m v + g, w ← w − rate × v) and Adam (Kingma and Ba 2015, algorithm 1); weight decay is added to
the gradient, as in torch.optim.

    >>> state = init(np.zeros(1), "sgd")
    >>> apply(state, np.ones(1), Settings("sgd", momentum=0.5), rate=0.5).weights.tolist()
    [-0.5]
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.study import Training

Vector = NDArray[np.float32]
Name = Literal["sgd", "adam"]

#: Adam's own (Kingma and Ba 2015).
BETAS, EPSILON = (0.9, 0.999), 1e-8
#: What a cosine schedule ends at, as a share of the full rate.
COSINE_END = 0.1


@dataclass(frozen=True)
class Settings:
    """Which optimiser, and how it remembers."""

    name: Name
    momentum: float = 0.0
    weight_decay: float = 0.0

    @classmethod
    def of(cls, training: Training) -> "Settings":
        """What a study asks for."""
        return cls(training.optimizer, training.momentum, training.weight_decay)


@dataclass(frozen=True)
class State:
    """`weights` float32 [d] after `steps`; `slots`: the momentum [d]; or Adam's first and second moment, [d] each."""

    weights: Vector
    slots: tuple[Vector, ...]
    steps: int = 0


def slots_of(name: Name) -> int:
    """How many vectors the optimiser `name` remembers beside the weights."""
    return {"sgd": 1, "adam": 2}[name]


def init(weights: NDArray[np.floating], name: Name) -> State:
    """The state before the first step."""
    start = weights.astype(np.float32)
    return State(start, tuple(np.zeros_like(start) for _ in range(slots_of(name))))


def apply(state: State, gradient: NDArray[np.floating], settings: Settings, *, rate: float) -> State:
    """The state after one step along −`gradient` [d] at learning rate `rate`."""
    descent = gradient.astype(np.float32)
    if settings.weight_decay:
        descent = descent + np.float32(settings.weight_decay) * state.weights
    steps = state.steps + 1
    if settings.name == "sgd":
        velocity = np.float32(settings.momentum) * state.slots[0] + descent
        return State(state.weights - np.float32(rate) * velocity, (velocity,), steps)
    first, second = BETAS
    mean = np.float32(first) * state.slots[0] + np.float32(1 - first) * descent
    square = np.float32(second) * state.slots[1] + np.float32(1 - second) * descent * descent
    scale = rate / (1 - first**steps)
    root = np.sqrt(square / np.float32(1 - second**steps)) + np.float32(EPSILON)
    return State(state.weights - np.float32(scale) * mean / root, (mean, square), steps)


def learning_rate(training: Training, round: int) -> float:
    """The rate of `round` (1 … rounds): its schedule's, times the share of the warm-up that is over."""
    done = min(1.0, (round - 1) / max(1, training.rounds - 1))
    factor = {
        "constant": 1.0,
        "cosine": COSINE_END + (1 - COSINE_END) * (1 + math.cos(math.pi * done)) / 2,
        "linear": 1.0 - (round - 1) / training.rounds,
    }[training.schedule]
    return training.learning_rate * factor * min(1.0, round / (training.warmup + 1))
