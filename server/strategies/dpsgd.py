"""DP-SGD over hospitals: one optimiser step on the noisy sum of all patients' clipped gradients (mode "distributed").

The model is the one that DP-SGD on the pooled images would give: the sum is the same, and the noise at least the same.
Guarantees: the sum that was opened is all that moves anything, so whatever is done here costs no patient anything more;
learning rate, averaging and clip follow from the study and from sums of earlier rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.strategies.base import Applied, State, Weights, averaged
from shared import optimiser
from shared.clipping import RANGE, moved, share_within
from shared.layout import Layout
from shared.messages.tasks import TrainTask
from shared.noisy_sum import mechanism_of, read_sum
from shared.secagg.collector import Total
from shared.secagg.plan import Plan
from shared.study import Study

Real = NDArray[np.floating[Any]]


def init(weights: Weights, study: Study, layout: Layout) -> State:
    """The state before the first step."""
    start = optimiser.init(layout.part(weights), study.training.optimizer)
    return State(weights, weights, slots=start.slots, clip=study.privacy.clip or 0.0)


def apply(state: State, noisy_sum: Real, study: Study, layout: Layout) -> State:
    """The state after a step along `noisy_sum` [d, and the bit's entry if the clip is adaptive] ÷ the public batch."""
    training, settings = study.training, optimiser.Settings.of(study.training)
    before = optimiser.State(layout.part(state.weights), state.slots, state.steps)
    rate = optimiser.learning_rate(training, state.steps + 1)
    after = optimiser.apply(before, noisy_sum[: layout.moving] / training.batch, settings, rate=rate)
    weights = layout.with_part(state.weights, after.weights)
    result, mass = averaged(state, weights, study.federation.averaging)
    return State(weights, result, mass, after.slots, after.steps, _next_clip(state.clip, noisy_sum, study))


def _next_clip(clip: float, noisy_sum: Real, study: Study) -> float:
    quantile, first = study.privacy.clip_quantile, study.privacy.clip
    if quantile is None or first is None:
        return clip
    share = share_within(float(noisy_sum[-1]), clip, batch=study.training.batch)
    return min(max(moved(clip, share, quantile=quantile), first / RANGE), first * RANGE)


@dataclass(frozen=True)
class DpSgd:
    """DP-SGD of `study`, whose model lies as `layout` says."""

    study: Study
    layout: Layout

    def init(self, weights: Weights) -> State:
        """The state before the first step."""
        return init(weights, self.study, self.layout)

    def task(self, state: State, class_weights: tuple[float, ...]) -> TrainTask:
        """What hospitals are asked for next; where all weights move a view of them, not a copy."""
        moving = self.layout.part(state.weights)
        return TrainTask(weights=moving.data.cast("B"), class_weights=class_weights, clip=state.clip)

    def apply(self, state: State, total: Total, plan: Plan, survivors: int, each: Sequence[Total] = ()) -> Applied:
        """The state after a step."""
        del each
        mechanism = mechanism_of(self.study, clip=state.clip, cohort=len(plan.cohort), parameters=self.layout.moving)
        return Applied(apply(state, read_sum(total, survivors, mechanism), self.study, self.layout))
