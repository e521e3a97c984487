"""Training without the federation, on one set of images: with the code and settings of hospital and coordinator.

Steps are plain whatever the study's strategy and personal weights are: these correct for hospitals that lie apart, and
here is one. With privacy it is DP-SGD on these images: each step with all the noise, added once.
"""

from dataclasses import dataclass, field

from torch import nn

from client.images import Images, Split
from client.training.features import Learned, features_of, has_fixed
from client.training.gradients.choose import Choice
from client.training.loop import given_shape, loss_of, step_private, train, train_private
from client.training.private import choose, local_mechanism
from server.strategies import dpsgd, fedavg
from server.strategies.base import State, Weights
from server.survey import class_weights
from shared.accounting import noise_multiplier
from shared.layout import Layout
from shared.mechanism import Mechanism
from shared.network import network_of
from shared.parameters import layout_of, load_vector, to_vector
from shared.study import Study
from shared.survey import Survey
from shared.tasks.registry import kind_of


@dataclass
class Alone:
    """One model of `study`, trained on `images` alone; round after round as `move` is called."""

    study: Study
    images: Images
    module: nn.Module = field(init=False)
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.module = network_of(self.study)
        self.layout = layout_of(self.module)
        self._sigma = noise_multiplier(self.study)
        self._weights = class_weights(self.study, _labels(self.study, self.images))
        self._trained, self._seen = self.module, self.images
        self._choice: Choice | None = None

    def begin(self, start: Weights) -> State:
        """The state before the first round."""
        load_vector(self.module, start)
        if has_fixed(self.module, self.study.training):  # what stays of `start` makes the features
            self._trained, self._seen = Learned(self.module), features_of(self.module, self.images)
        if self._sigma is not None:
            shape, loss = given_shape(self.study, self._seen), loss_of(kind_of(self.study), self._weights)
            self._choice = choose(self._trained.train(), loss, shape, self.study)
        distributed = self.study.privacy.mode == "distributed"
        return dpsgd.init(start, self.study, self.layout) if distributed else fedavg.init(start)

    def move(self, state: State, round_: int) -> State:
        """The state after `round_` (1, 2, …)."""
        load_vector(self.module, state.weights)
        if self.study.privacy.mode == "distributed":
            return self._step(state)
        self._train(round_)
        update = to_vector(self.module) - state.weights
        return fedavg.apply(state, update, averaging=self.study.federation.averaging)

    def _train(self, round_: int) -> None:
        study, weights = self.study, self._weights
        if self._sigma is None:
            train(self._trained, self._seen, study, round=round_, class_weights=weights, seed=study.training.seed)
            return
        train_private(
            self._trained,
            self._seen,
            study,
            round=round_,
            sigma=self._sigma,
            class_weights=weights,
            choice=self._choice,
        )

    def _step(self, state: State) -> State:
        mechanism = self._mechanism(state.clip)
        integers = step_private(
            self._trained,
            self._seen,
            self.study,
            mechanism,
            class_weights=self._weights,
            choice=self._choice,
        )
        return dpsgd.apply(state, integers * mechanism.grid, self.study, self.layout)

    def _mechanism(self, clip: float) -> Mechanism:
        entries = self.layout.moving + (self.study.privacy.clip_quantile is not None)
        return local_mechanism(clip, self._sigma or 0.0, entries)


def _labels(study: Study, images: Images) -> Survey:
    rows = images.rows(Split.TRAIN)
    counts = kind_of(study).presence(images.target[rows]).sum(axis=0)
    return Survey(splits=(len(rows), 0, 0), labels=tuple(map(int, counts)), skipped={})
