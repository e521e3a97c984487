"""FedAvg (McMahan et al. 2017, algorithm 1): the model moves by the weighted mean of the hospitals' updates.

`init` and `apply` on explicit, frozen state. The result handed out may be an exponential average of the models
over rounds (`federation.averaging`), corrected for its start, which steadies a model trained under noise.

    >>> state = apply(init(np.zeros(2, np.float32)), np.ones(2, np.float32), averaging=0.5)
    >>> apply(state, np.ones(2, np.float32), averaging=0.5).result.tolist()  # (1·½ + 2) ÷ 1½
    [1.6666666269302368, 1.6666666269302368]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """`weights` float32 [d] that hospitals start the next round from; `result` float32 [d], the model handed out;
    `mass`, the sum of the averaging weights so far."""

    weights: Weights
    result: Weights
    mass: float = 0.0


def init(weights: Weights) -> State:
    """The state before the first round."""
    return State(weights, weights)


def apply(state: State, mean_update: Weights, *, averaging: float) -> State:
    """The state after a round whose weighted mean update is `mean_update` [d]."""
    weights = state.weights + mean_update
    if not averaging:
        return State(weights, weights, 1.0)
    mass = averaging * state.mass + 1.0
    result = state.result * np.float32(averaging * state.mass)
    result += weights
    result /= np.float32(mass)
    return State(weights, result, mass)
