"""One round of training at a hospital: what is its own put in place, the algorithm's steps, what leaves and what stays.

Arrays in, arrays out; the caller has charged the ledger. What leaves is no longer than `aggregation.update_norm`.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import nn

from client.personal import PERSONAL, own_places, with_own
from client.training.algorithms.base import Begin, Kept, Vector, bounded
from client.training.algorithms.choose import local_of
from client.training.algorithms.pull import Pull
from client.training.loop import train, train_private
from client.workbench import Workbench
from shared.accounting import noise_multiplier
from shared.algorithms.registry import options_for
from shared.errors import SiteError
from shared.messages.tasks import TrainTask
from shared.parameters import layout_of, load_part, to_vector
from shared.study import Study


@dataclass(frozen=True)
class Trained:
    """`up`: the algorithm's vectors one after the other, float32 [vectors × d]; whether the update was longer than
    allowed; local steps made; what is to be kept."""

    up: Vector
    scaled: bool
    steps: int
    kept: dict[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True)
class _Round:
    """What every training of one round shares."""

    study: Study
    task: TrainTask
    number: int
    bench: Workbench
    module: nn.Module
    seed: int

    def weights(self) -> Vector:
        """Of the module, those that move, a copy."""
        return layout_of(self.module).part(to_vector(self.module))

    def run(self, start: Vector, pull: Pull | None) -> tuple[Vector, int]:
        """The weights after the round's steps from `start` [d], and how many steps they were. Raises SiteError where
        they diverged."""
        load_part(self.module, start)
        steps = self._steps(pull)
        after = self.weights()
        if not np.isfinite(after).all():
            raise SiteError(
                "local training", expected="finite weights", got="nan or infinity", do="Lower learning_rate."
            )
        return after, steps

    def _steps(self, pull: Pull | None) -> int:
        study, weights = self.study, self.task.class_weights
        sigma = noise_multiplier(study)
        if sigma is None:
            module, images = self.bench.learning(study)
            return train(
                module, images, study, round=self.number, class_weights=weights, seed=self.seed, pull=pull
            ).steps
        module, images, choice = self.bench.private(study, weights)
        return train_private(
            module,
            images,
            study,
            round=self.number,
            sigma=sigma,
            class_weights=weights,
            choice=choice,
            release=self.bench.release,
            pull=pull,
        ).steps


def trained(
    study: Study, task: TrainTask, bench: Workbench, module: nn.Module, *, round_: int, kept: Kept, seed: int
) -> Trained:
    """Round `round_` from the weights in `module`, with what was `kept` of the rounds before."""
    work = _Round(study, task, round_, bench, module, seed)
    common, places, personal = work.weights(), own_places(study, module), study.federation.personal
    parts = bool(personal) and personal != ("all",)
    start = with_own(common, places, kept) if parts else common
    begin = Begin(study, round_, start, np.frombuffer(task.beside, "<f4").astype(np.float32), kept)
    algorithm = local_of(study)
    after, steps = work.run(start, algorithm.pull(begin))
    update, scaled = bounded(after - common, study.aggregation.update_norm)
    made = algorithm.finish(begin, update, steps)
    own: dict[str, Vector] = {}
    if parts:
        own = {PERSONAL: after[places]}
    elif personal:
        # Ditto, equation 2 and algorithm 1: F(v) + λ ÷ 2 |v − w|² from where v was
        pull = Pull(options_for(study).personal_mu, anchor=common)
        own = {PERSONAL: work.run(with_own(common, places, kept), pull)[0]}
    return Trained(np.concatenate(made.up), scaled, steps, made.kept | own)
