"""Which pixels or voxels belong to which structure: one for each label, and the background.

Measures of an image: for each structure, how its mask agrees with the drawn one (structures.py, which also says what
holds where one of them is empty). Figures: Dice, Hausdorff distance, surface Dice.

    [task]
    kind = "segmentation"
    labels = ["lesion"]           # in the masks: 1 the first label, 0 the background

    [task.options]
    patch = 96                    # learn from random parts of that side, predict by a sliding window
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.errors import InputError, MisuseError, unlikely
from shared.judged import Judged
from shared.meaning import Meaning, Window
from shared.study import Study
from shared.tasks.base import Floats, Target
from shared.tasks.structures import INTEGERS, MEASURES, Structure, judged
from shared.tasks.symmetries import mirrored_of

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

#: All pixels that a hospital counts must fit into a number that travels.
MOST_PIXELS = 2**47


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`loss` per image; `structures` exclude each other ("softmax") or are each by itself ("sigmoid"); `patch`: side in
    pixels of the random part that a step learns from, 0 for the whole, and `foreground`: the share of these that lie
    around a structure; `tolerance` of the surface Dice, in mm where the study says a spacing, else in pixels."""

    loss: Literal["dice-ce", "dice-focal", "ce"] = "dice-ce"
    structures: Literal["softmax", "sigmoid"] = "softmax"
    patch: Annotated[int, Meta(ge=0, le=1024)] = 0
    foreground: Annotated[float, Meta(ge=0, le=1)] = 0.5
    tolerance: Annotated[float, Meta(ge=0, le=1000)] = 2.0


def create(options: Options, study: Study) -> Segmentation:
    """Raises InputError for a study without labels, for patches of a few pixels, and for more pixels than can be
    counted."""
    if not study.task.labels:
        raise InputError("task.labels", expected="one for each structure, the background left out", got="none")
    if 0 < options.patch < 8:
        raise InputError("task.options.patch", expected="0, or at least 8 pixels", got=str(options.patch))
    if prod(study.input.size) * study.federation.max_images >= MOST_PIXELS:
        got = f"{study.federation.max_images} images of {prod(study.input.size)}"
        raise InputError("federation.max_images", expected=f"fewer than {MOST_PIXELS} pixels at a hospital", got=got)
    return Segmentation(options, study)


class Segmentation:
    """Segmentation of the labels of one study."""

    target: Target = "mask"
    noisy = False

    def __init__(self, options: Options, study: Study) -> None:
        self._options, self._labels = options, study.task.labels
        self._alone = options.structures == "sigmoid"
        self._spacing: tuple[float, ...] = study.input.spacing or (1.0,) * len(study.input.size)
        self._unit = "mm" if study.input.spacing else "pixels"
        self.outputs = len(self._labels) + (0 if self._alone else 1)
        self.channels, self.counts = study.input.channels, len(self._labels) * INTEGERS
        background = self.outputs - len(self._labels)
        self._mirrored = [*range(background), *(background + place for place in mirrored_of(study.task))]
        self.meaning = _meaning(options, study)

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """[n, …] → [n, structures]; one image at a time, as they may be many."""
        found = np.zeros((len(target), len(self._labels)), np.bool_)
        for image, mask in enumerate(target):
            there = np.unique(np.asarray(mask))
            found[image] = np.isin(1 + np.arange(len(self._labels)), there)
        return found

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Whole images, or one random part of each: [n, C, …] and [n, …]."""
        if not self._options.patch:
            return images, target
        from shared.tasks.masks import patches  # noqa: PLC0415  base.py says why

        return patches(images, target, self._options.patch, self._options.foreground, generator)

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """As the options say, [n]. Raises MisuseError unless there is one weight for each structure."""
        from shared.tasks.masks import loss_of  # noqa: PLC0415

        if len(class_weights) != len(self._labels):
            raise MisuseError("class weights", expected=str(len(self._labels)), got=str(len(class_weights)))
        return loss_of(output, target, class_weights, self._options.loss, alone=self._alone)

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """`MEASURES` numbers for each structure, [n, structures × MEASURES]."""
        from shared.tasks.masks import agreement, masks_of  # noqa: PLC0415

        kept = np.zeros((len(images), len(self._labels), MEASURES))
        if len(images):
            options, window = self._options, self.meaning.window
            masks = masks_of(module, images, views, window=window, alone=self._alone, mirrored=self._mirrored)
            for place, (found, drawn) in enumerate(zip(masks.cpu().numpy(), target.cpu().numpy(), strict=True)):
                kept[place] = [
                    agreement(mask, drawn == label, self._spacing, options.tolerance)
                    for label, mask in enumerate(found, start=1)
                ]
        return kept.reshape(len(images), len(self._labels) * MEASURES)

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """`INTEGERS` for each structure."""
        del target
        each = measures.reshape(-1, len(self._labels), MEASURES)
        return [
            value
            for place in range(len(self._labels))
            for value in Structure.of(each[:, place], patients).to_integers()
        ]

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Dice, distances and their distribution, by structure and of all."""
        del chosen_on
        starts = range(0, self.counts, INTEGERS)
        structures = [Structure.from_integers(values[start : start + INTEGERS]) for start in starts]
        if len({each.with_it + each.without for each in structures}) > 1:
            raise unlikely("as many images for every structure", "others")
        return judged(structures, self._labels, self._unit, self._options.tolerance)


def _meaning(options: Options, study: Study) -> Meaning:
    """Logits of each pixel, whole or by windows of the size that a step learns from."""
    size, labels, window = study.input.size, study.task.labels, None
    if 0 < options.patch < max(size):
        window = Window(size=tuple(min(options.patch, side) for side in size))
    if options.structures == "sigmoid":
        words = "logits of each pixel; sigmoid makes a probability of each structure, which is there if it is above 0.5"
        return Meaning(words=words, link="sigmoid", channels=labels, window=window)
    words = "logits of each pixel; softmax along dimension 1 makes probabilities of them; a pixel is of the likeliest"
    return Meaning(words=words, link="softmax", channels=("background", *labels), window=window)
