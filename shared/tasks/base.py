"""What a kind of task must say, so that hospitals can train it, evaluate it under masks, and a report can show it.

A kind is one file of this package: `Options`, the struct of its options, and `create(options, study) -> Kind`, which
raises InputError for a study it cannot do. It is named in registry.py and nowhere else.

How an image becomes a figure: the network scores it and `measure` makes a few numbers of it, at the hospital; `count`
makes integers of the measures of many images, always equally many, so that they can be summed under masks; `judge`
makes figures of the sum, at the coordinator. Nobody but `measure` sees an image, and nobody but `count` one image's
numbers.

Rules:
- All of it treats each image on its own: no measure or loss of one depends on another.
- The file imports no torch at its top: the coordinator counts with it, and has none (docs/adr/0013). What needs torch
  imports it inside.
- Pure: no I/O, no state. Random choices come from the generator handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.judged import Judged
from shared.meaning import Meaning
from shared.study import Study

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

#: What a hospital must know of an image, as `Images.target` holds it for image i:
#: "class": int64 [], index into the labels · "classes": int64 [L], 0 or 1 for each label · "value": float32 [] ·
#: "mask": uint8 [*size], 0 or 1 + index of the label · "boxes": float32 [K, 1 + 2 × sides], index of the label (−1: no
#: box), then the least and the greatest place along each side, in pixels · "none": nothing, int64 [] of 0
Target = Literal["class", "classes", "value", "mask", "boxes", "none"]
Floats = NDArray[np.float64]


class Kind(Protocol):
    """One kind of task, for one study."""

    @property
    def target(self) -> Target:
        """What a hospital must know of an image."""

    @property
    def outputs(self) -> int:
        """Classes or channels of what the network returns."""

    @property
    def channels(self) -> int:
        """Channels of what the network is given: those of the study's images, unless `example` makes more of them."""

    @property
    def counts(self) -> int:
        """How many integers `count` gives."""

    @property
    def meaning(self) -> Meaning:
        """What the numbers are that the network returns, for whoever has no `measure`."""

    @property
    def noisy(self) -> bool:
        """Whether hospitals can add noise to its counts (evaluation.epsilon): two classes, for now."""

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Which of the labels each image has, bool [n, labels]; for the survey, class weights and balanced sampling."""

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """What one step learns from: images [n, C, …] in [0, 1], augmented already, and targets [n, …] → what the
        network is given [n, channels, …] and what the loss compares with."""

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """One loss for each image, [n]; in float32 whatever the precision of the network."""

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """What is kept of each held-out image, float64 [n, measures]; `module` is in evaluation mode, `images` float32
        [n, C, …] as they are, `views` the study's evaluation.views."""

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """`counts` integers of magnitude below 2^47 that add up over hospitals; n may be 0. `patients` [n] numbers
        whose each image is. Exact counts are never negative unless the kind says why."""

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Figures of summed counts. `chosen_on`: counts of the validation patients, on which thresholds are chosen;
        None chooses none, for rounds before the last. Raises OperatorError for counts that no hospitals can have sent.
        """


def blank(study: Study, target: Target) -> NDArray[np.generic]:
    """A target that says nothing, of the shape and type that images of `study` have."""
    size, labels = study.input.size, len(study.task.labels)
    shapes: dict[Target, NDArray[np.generic]] = {
        "class": np.zeros((), np.int64),
        "classes": np.zeros(labels, np.int64),
        "value": np.zeros((), np.float32),
        "mask": np.zeros(size, np.uint8),
        "boxes": np.full((1, 1 + 2 * len(size)), -1, np.float32),
        "none": np.zeros((), np.int64),
    }
    return shapes[target]
