"""Means that a few hostile hospitals cannot move far: for federations that give up masking, and say so.

Each needs every hospital's own update, in the clear at the coordinator (aggregation.adversary = "none", refused by a
hospital's policy unless that allows it). All hospitals weigh alike: a weight is a hospital's own word. Updates longer
than `aggregation.update_norm`, which no honest hospital sends, are scaled down to it first.

median        of each weight on its own (Yin et al. 2018, arXiv 1803.01498, definition 1)
trimmed-mean  of each weight without the `trim` largest and smallest shares (the same, definition 2)
krum          the update closest to its n − f − 2 neighbours (Blanchard et al. 2017, section 4); multi-krum: the mean
              of several such

Arithmetic: numpy's median, and Flower's own trimmed mean and Krum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum
from numpy.typing import NDArray

from server.strategies.base import Applied, State, Weights
from server.strategies.drift import drift
from server.strategies.masked import Moving, settled
from shared.algorithms.options import Choosing, ChoosingMany, Common, Trimming
from shared.errors import MisuseError
from shared.layout import Layout
from shared.messages.tasks import TrainTask
from shared.secagg.collector import Total
from shared.secagg.plan import Plan
from shared.study import Study
from shared.update import Codec

#: float64 [hospitals, d]
Updates = NDArray[np.float64]
#: [hospitals, d] → [d]
Mean = Callable[[Updates], NDArray[np.float64]]


def mean_of(options: Common) -> Mean:
    """The mean that the options of an algorithm stand for."""
    if isinstance(options, ChoosingMany):
        return partial(krum, hostile=options.hostile, keep=options.keep)
    if isinstance(options, Choosing):
        return partial(krum, hostile=options.hostile, keep=1)
    return partial(trimmed, share=options.trim) if isinstance(options, Trimming) else median


def median(updates: Updates) -> NDArray[np.float64]:
    """Of each column."""
    found: NDArray[np.float64] = np.median(updates, axis=0)
    return found


def trimmed(updates: Updates, *, share: float) -> NDArray[np.float64]:
    """The mean of each column without `share` of its values, rounded down, at either end."""
    return trim_mean(updates, share)


def krum(updates: Updates, *, hostile: int, keep: int) -> NDArray[np.float64]:
    """The mean of the `keep` rows closest to their neighbours, 0 for all but the `hostile`."""
    number = keep or len(updates) - hostile
    rows = [RecordDict({"update": ArrayRecord([row])}) for row in updates]
    chosen = select_multikrum(rows, hostile, number)
    found: NDArray[np.float64] = np.mean([row.array_records["update"].to_numpy_ndarrays()[0] for row in chosen], axis=0)
    return found


@dataclass(frozen=True)
class Robust:
    """The algorithm of `study`, whose model lies as `layout` says, that moves by `mean`."""

    study: Study
    layout: Layout
    mean: Mean

    def init(self, weights: Weights) -> State:
        """The state before the first round."""
        return State(weights, weights)

    def task(self, state: State, class_weights: tuple[float, ...]) -> TrainTask:
        """What hospitals are asked for next; where all weights move a view of them, not a copy."""
        moving = self.layout.part(state.weights)
        return TrainTask(weights=moving.data.cast("B"), class_weights=class_weights)

    def apply(self, state: State, total: Total, plan: Plan, survivors: int, each: Sequence[Total] = ()) -> Applied:
        """The state after a round. Raises MisuseError without each hospital's part."""
        del total
        if len(each) != survivors:
            raise MisuseError("robust mean", expected=f"{survivors} single updates", got=f"{len(each)}")
        codec = Codec.of(self.study, cohort=len(plan.cohort), parameters=self.layout.moving, seed=plan.payload)
        read = [codec.read(one, 1, self.study.federation.max_images) for one in each]
        updates = np.stack([_bounded(one.mean, codec.norm) for one in read])
        mean = self.mean(updates).astype(np.float32)
        apart = drift(updates.mean(axis=0).astype(np.float32), float((updates**2).sum(axis=1).mean()))
        after = Moving(self.layout.part(state.weights) + mean, (), state.steps + 1)
        images = max(state.images, sum(one.weight for one in read))
        return Applied(
            settled(self.study, self.layout, state, after, images), sum(one.scaled_down for one in read), apart
        )


def _bounded(update: Weights, norm: float) -> NDArray[np.float64]:
    """`update` [d], no longer than `norm`."""
    long = update.astype(np.float64)
    length = float(np.linalg.norm(long))
    return long if length <= norm else long * (norm / length)
