"""What all algorithms share that see one masked sum: read it, move what moves, average the result.

An algorithm is a `Rule` on what moves of the model; it sees the mean update, and what the coordinator remembers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from server.strategies.base import Applied, State, Weights, averaged
from server.strategies.drift import drift
from shared.algorithms.registry import algorithm_of
from shared.layout import Layout
from shared.messages.tasks import TrainTask
from shared.secagg.collector import Total
from shared.secagg.plan import Plan
from shared.study import Study
from shared.update import Codec, Update


@dataclass(frozen=True)
class Moving:
    """What an algorithm moves: `weights` float32 [d], the part of the model that is trained, and its `slots` after
    `steps` rounds."""

    weights: Weights
    slots: tuple[Weights, ...] = ()
    steps: int = 0


@dataclass(frozen=True)
class Crowd:
    """Who is in a round's sum: `round` of the study; `share` of all hospitals' weight; `grown`: all hospitals' weight
    as it was known before, over what is known now, 1 but where a round has more of them than all before."""

    round: int = 1
    share: float = 1.0
    grown: float = 1.0


#: (before, the sum, who is in it) → after
Rule = Callable[[Moving, Update, Crowd], Moving]


@dataclass(frozen=True)
class Masked:
    """The algorithm `rule` of `study`, whose model lies as `layout` says; it remembers `slots` vectors."""

    study: Study
    layout: Layout
    rule: Rule
    slots: int = 0

    def init(self, weights: Weights) -> State:
        """The state before the first round."""
        size = self.layout.moving
        return State(weights, weights, slots=tuple(np.zeros(size, np.float32) for _ in range(self.slots)))

    def task(self, state: State, class_weights: tuple[float, ...]) -> TrainTask:
        """What hospitals are asked for next; where all weights move a view of them, not a copy."""
        moving = self.layout.part(state.weights)
        beside = state.slots[: algorithm_of(self.study).beside]
        return TrainTask(
            weights=moving.data.cast("B"),
            class_weights=class_weights,
            beside=np.concatenate(beside).data.cast("B") if beside else memoryview(b""),
        )

    def apply(self, state: State, total: Total, plan: Plan, survivors: int, each: Sequence[Total] = ()) -> Applied:
        """The state after a round."""
        del each
        codec = Codec.of(self.study, cohort=len(plan.cohort), parameters=self.layout.moving, seed=plan.payload)
        update = codec.read(total, survivors, self.study.federation.max_images)
        images = max(state.images, update.weight)
        crowd = Crowd(plan.round, update.weight / images, (state.images or images) / images)
        before = Moving(self.layout.part(state.weights), state.slots, state.steps)
        after = self.rule(before, update, crowd)
        apart = drift(update.mean[: self.layout.moving], update.square)
        return Applied(settled(self.study, self.layout, state, after, images), update.scaled_down, apart)


def settled(study: Study, layout: Layout, state: State, after: Moving, images: int) -> State:
    """`state` with `after` in the place of what moved."""
    weights = layout.with_part(state.weights, after.weights)
    result, mass = averaged(state, weights, study.federation.averaging)
    return State(weights, result, mass, after.slots, after.steps, state.clip, images)
