"""Several findings in each image, each there or not whatever the others are.

Measures of an image: its probability of each finding, [n, findings]. Counts: of each finding the histograms and pairs
of BinaryCounts, and sums over patients for intervals at the operating point, which is chosen for each finding on its
own. The headline is the mean of the findings' site-stratified AUCs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, unlikely
from shared.finding import Finding
from shared.finding_counts import Layout
from shared.findings import curves_of, macro_area
from shared.judged import Judged
from shared.meaning import Meaning
from shared.study import Study
from shared.tasks.base import Floats, Target
from shared.tasks.probabilities import Learning, kept_of, loss_of
from shared.tasks.symmetries import mirrored_of

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output

LAYOUT = Layout(clusters=True)


class Options(Learning, frozen=True, forbid_unknown_fields=True):
    """With `smoothing`, a truth of 0 or 1 becomes so much ÷ 2 or 1 − that."""


def create(options: Options, study: Study) -> Multilabel:
    """Raises InputError without labels."""
    if not study.task.labels:
        raise InputError("task.labels", expected="the findings, one or more", got="none")
    return Multilabel(options, study)


class Multilabel:
    """The findings that are the labels of `study`, each on its own."""

    target: Target = "classes"
    noisy = False

    def __init__(self, options: Options, study: Study) -> None:
        self._options, self._study, self._labels = options, study, study.task.labels
        self.outputs, self.channels = len(self._labels), study.input.channels
        self.counts = LAYOUT.length * self.outputs
        words = "logits; sigmoid makes a probability of each finding, whatever the others are"
        self.meaning = Meaning(words=words, link="sigmoid", channels=self._labels)

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """[n, findings], as it is known."""
        found: NDArray[np.bool_] = target == 1
        return found

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Both as they are."""
        del generator
        return images, target

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Mean over the findings of each image, those there scaled by their weight, plus what the model adds, [n]."""
        import torch.nn.functional as F  # noqa: PLC0415  base.py says why

        def surprise(logits: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
            truth = target.to(logits.dtype) * (1 - smoothing) + smoothing / 2  # [n, findings]
            return F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight, reduction="none")

        return loss_of(output, class_weights, self._options, surprise)

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """Probability of each finding, averaged over the views, [n, findings]."""
        del target
        return kept_of(images, views, lambda version: module(version).sigmoid(), mirrored_of(self._study.task))

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """Each finding's integers, in the order of the labels."""
        present = self.presence(target).astype(np.int64)
        return [value for k in range(self.outputs) for value in LAYOUT.write(measures[:, k], present[:, k], patients)]

    def _read(self, values: Sequence[int]) -> tuple[Finding, ...]:
        pieces = (values[k * LAYOUT.length : (k + 1) * LAYOUT.length] for k in range(self.outputs))
        found = tuple(LAYOUT.read(piece, label) for piece, label in zip(pieces, self._labels, strict=True))
        if len({finding.counts.images for finding in found}) != 1:
            raise unlikely("as many images for every finding", "others")
        return found

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """Their mean, then all figures of each finding."""
        found, aim = self._read(values), self._study.evaluation.sensitivity
        chosen = (None,) * len(found) if chosen_on is None else self._read(chosen_on)
        both = tuple(zip(found, chosen, strict=True))
        return Judged(
            kind="multilabel",
            images=found[0].counts.images,
            figures=(macro_area(found), *(figure for one, on in both for figure in one.figures(on, aim))),
            curves=(*curves_of(found), *(curve for one in found for curve in one.decision())),
            tables=tuple(table for one, on in both for table in one.table(on, aim, (f"no {one.of}", one.of))),
        )
