"""Where findings are: a box around each, with a label and a score.

Measures of an image: the boxes found, each with its label, its score and whether it hits one that people drew; and how
many they drew of each label. Figures: FROC and average precision (froc.py).

    [task]
    kind = "detection"
    labels = ["nodule"]
    [model]
    name = "retinanet"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.errors import InputError, MisuseError, unlikely
from shared.judged import Judged
from shared.meaning import Meaning
from shared.study import Study
from shared.tasks.base import Floats, Target
from shared.tasks.froc import Found, judged, length_of
from shared.tasks.symmetries import mirrored_of

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

#: Boxes found that are kept of each image, and drawn ones that a step learns from.
KEPT, LEARNT = 64, 32
#: Overlaps of the mean average precision; the study's own stands before them.
OVERLAPS = (0.1, 0.2, 0.3, 0.4, 0.5)
#: Of the output: the rows of shared/models/retinanet.py.
WORDS = (
    "a row for each anchor: a logit for each label, whose sigmoid is its score; how far the centre moves along each"
    " side, in sides of the anchor; the logarithm of how much each side grows; the anchor's least, then its greatest"
    " place along each side, in pixels"
)
#: What counts as a hit in images and in volumes, where the study does not say.
USUAL = {2: 0.3, 3: 0.1}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`overlap` (intersection over union) from which a found box hits a drawn one, 0 for 0.3 in images and 0.1 in
    volumes; `apart`: of two found boxes that overlap more, one is kept."""

    overlap: Annotated[float, Meta(ge=0, le=0.95)] = 0.0
    apart: Annotated[float, Meta(gt=0, lt=1)] = 0.3


def create(options: Options, study: Study) -> Detection:
    """Raises InputError for a study without labels or with another model, whose output would mean nothing here."""
    if not study.task.labels:
        raise InputError("task.labels", expected="one for each kind of finding", got="none")
    if study.model.name != "retinanet":
        raise InputError("model.name", expected='"retinanet" for detection', got=f'"{study.model.name}"')
    return Detection(options, study)


class Detection:
    """Detection of the labels of one study."""

    target: Target = "boxes"
    noisy = False

    def __init__(self, options: Options, study: Study) -> None:
        self._labels, self._apart = study.task.labels, options.apart
        self._overlaps = (options.overlap or USUAL[len(study.input.size)], *OVERLAPS)
        self.outputs, self.channels = len(self._labels), study.input.channels
        self.counts = len(self._labels) * length_of(len(self._overlaps))
        self._mirrored = mirrored_of(study.task)
        self.meaning = Meaning(words=f"{WORDS}; of boxes that overlap by more than {options.apart:g} the best is kept")

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """[n, K, 1 + 2 × sides] → [n, labels]."""
        found: NDArray[np.bool_] = (np.asarray(target)[:, :, :1] == np.arange(len(self._labels))).any(axis=1)
        return found

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images as they are; LEARNT places for boxes, whatever a hospital has: [n, LEARNT, 1 + 2 × sides]."""
        from torch.nn.functional import pad  # noqa: PLC0415  base.py says why

        del generator
        kept = target[:, :LEARNT]
        return images, pad(kept, [0, 0, 0, LEARNT - kept.shape[1]], value=-1.0)

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Of scores and places, [n]. Raises MisuseError unless there is one weight for each label."""
        from shared.tasks.boxes import loss_of  # noqa: PLC0415

        if len(class_weights) != len(self._labels):
            raise MisuseError("class weights", expected=str(len(self._labels)), got=str(len(class_weights)))
        return loss_of(output, target, class_weights)

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """[n, KEPT × (2 + overlaps) + labels]: of each box found its label (−1: none), score and hits; then how many
        were drawn of each label."""
        from shared.tasks.boxes import detections  # noqa: PLC0415

        width = 2 + len(self._overlaps)
        kept = np.zeros((len(images), KEPT * width + len(self._labels)))
        kept[:, : KEPT * width : width] = -1
        if not len(images):
            return kept
        found = detections(
            module,
            images,
            views,
            labels=len(self._labels),
            most=KEPT,
            apart=self._apart,
            mirrored=self._mirrored,
        )
        for row, boxes, drawn in zip(kept, found, target.cpu().numpy().astype(np.float64), strict=True):
            rows = hits(boxes.cpu().numpy().astype(np.float64), drawn[drawn[:, 0] >= 0], self._overlaps)
            row[: rows.size] = rows.ravel()
            row[KEPT * width :] = (drawn[:, :1] == np.arange(len(self._labels))).sum(axis=0)
        return kept

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """Histograms for each label."""
        del target, patients
        width = 2 + len(self._overlaps)
        boxes, drawn = measures[:, : KEPT * width].reshape(-1, KEPT, width), measures[:, KEPT * width :]
        return [
            value
            for label in range(len(self._labels))
            for value in Found.of(label, boxes, drawn[:, label], len(self._overlaps)).to_integers()
        ]

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """FROC and average precision, by label and of all."""
        del chosen_on
        length = length_of(len(self._overlaps))
        every = [Found.from_integers(values[start : start + length]) for start in range(0, self.counts, length)]
        if len({each.images for each in every}) > 1:
            raise unlikely("as many images for every label", "others")
        return judged(self._labels, every, self._overlaps)


def hits(found: Floats, drawn: Floats, overlaps: Sequence[float]) -> Floats:
    """Boxes found in one image, [d, 2 + 2 × sides] with the highest score first, and drawn, [k, 1 + 2 × sides] → [d, 2
    + overlaps]: label, score, 1 where it is the first to overlap a drawn box of its label by so much."""
    rows = np.concatenate([found[:, :2], np.zeros((len(found), len(overlaps)))], axis=1)
    table = np.where(found[:, :1] == drawn[None, :, 0], _overlap(found[:, 2:], drawn[:, 1:]), -1.0)  # [d, k]
    for place, least in enumerate(overlaps, start=2):
        free = table.copy()
        for row in range(len(found)):
            nearest = int(free[row].argmax()) if len(drawn) else -1
            if nearest >= 0 and free[row, nearest] >= least:
                rows[row, place] = 1
                free[:, nearest] = -1.0
    return rows


def _overlap(some: Floats, others: Floats) -> Floats:
    """Intersection over union, [a, b]."""
    sides = some.shape[1] // 2
    low = np.maximum(some[:, None, :sides], others[None, :, :sides])
    high = np.minimum(some[:, None, sides:], others[None, :, sides:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, sides:] - boxes[:, :sides], 0, None).prod(axis=1) for boxes in (some, others)]
    union: Floats = areas[0][:, None] + areas[1][None] - shared
    found: Floats = shared / np.maximum(union, 1e-9)
    return found
