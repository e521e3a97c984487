"""What moves the model from one round's sum to the next: an algorithm as `init` and `apply` on explicit, frozen state.

    init(weights) → state;  task(state) → what hospitals are asked;  apply(state, sum) → state

One round's sum is all that `apply` sees of any hospital; but for the robust means, which need each one's update, and
are refused where hospitals keep their masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.messages.tasks import TrainTask
from shared.secagg.collector import Total
from shared.secagg.plan import Plan

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """`weights` float32 [d] that hospitals start the next round from; `result` float32 [d], the model handed out;
    `mass`, the sum of the averaging weights so far; `slots`, what an optimiser at the coordinator remembers after
    `steps`; `clip`, the clip of the next step where the coordinator steps; `images`, the weight of the largest sum so
    far: as good as all hospitals'."""

    weights: Weights
    result: Weights
    mass: float = 0.0
    slots: tuple[Weights, ...] = ()
    steps: int = 0
    clip: float = 0.0
    images: int = 0


class Applied(NamedTuple):
    """The state after a round; how many hospitals' updates were longer than allowed and scaled down; how far they lay
    apart (drift.py), where that is known."""

    state: State
    scaled_down: int = 0
    drift: float | None = None


class Strategy(Protocol):
    """One algorithm, for one study."""

    def init(self, weights: Weights) -> State:
        """The state before the first round."""

    def task(self, state: State, class_weights: tuple[float, ...]) -> TrainTask:
        """What hospitals are asked for next."""

    def apply(self, state: State, total: Total, plan: Plan, survivors: int, each: Sequence[Total] = ()) -> Applied:
        """The state after the round whose sum over `survivors` is `total`, of `each` hospital's part where no mask hid
        them. Raises OperatorError for a sum that holds what no hospitals can have sent."""


def averaged(state: State, weights: Weights, averaging: float) -> tuple[Weights, float]:
    """The result and its mass after `weights`: an exponential average of the models over rounds, corrected for its
    start, which steadies a model trained under noise; with `averaging` 0 the last model."""
    if not averaging:
        return weights, 1.0
    mass = averaging * state.mass + 1.0
    result = state.result * np.float32(averaging * state.mass)
    result += weights
    result /= np.float32(mass)
    return result, mass
