"""FedAvg (McMahan et al. 2017, algorithm 1): the model moves by the weighted mean of the hospitals' updates.

>>> state = apply(init(np.zeros(2, np.float32)), np.ones(2, np.float32), averaging=0.5)
>>> apply(state, np.ones(2, np.float32), averaging=0.5).result.tolist()  # (1·½ + 2) ÷ 1½
[1.6666666269302368, 1.6666666269302368]
"""

from dataclasses import dataclass, replace

import numpy as np

from server.strategies.base import Applied, State, Weights, averaged
from shared.layout import Layout
from shared.messages import TrainTask
from shared.secagg.collector import Total
from shared.secagg.plan import Plan
from shared.study import Study
from shared.vectors import Codec


def init(weights: Weights) -> State:
    """The state before the first round."""
    return State(weights, weights)


def apply(state: State, mean_update: Weights, *, averaging: float) -> State:
    """The state after a round whose weighted mean update is `mean_update` [d]."""
    weights = state.weights + mean_update
    result, mass = averaged(state, weights, averaging)
    return replace(state, weights=weights, result=result, mass=mass)


@dataclass(frozen=True)
class FedAvg:
    """FedAvg of `study`, whose model lies as `layout` says."""

    study: Study
    layout: Layout

    def init(self, weights: Weights) -> State:
        """The state before the first round."""
        return init(weights)

    def task(self, state: State, class_weights: tuple[float, ...]) -> TrainTask:
        """What hospitals are asked for next; a view of the weights, not a copy."""
        return TrainTask(weights=state.weights.data.cast("B"), class_weights=class_weights)

    def apply(self, state: State, total: Total, plan: Plan, survivors: int) -> Applied:
        """The state after a round."""
        codec = Codec.of(self.study, cohort=len(plan.cohort), parameters=self.layout.moving, seed=plan.payload)
        update = codec.read(total, survivors, self.study.federation.max_images)
        mean = update.mean
        if self.layout.frozen:
            mean = self.layout.with_part(np.zeros_like(state.weights), mean)
        return Applied(apply(state, mean, averaging=self.study.federation.averaging), update.scaled_down)
