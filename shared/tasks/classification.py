"""One of several classes for each image. Of two, the last is the finding looked for.

Measures of an image: its probability of each class, [n, classes]. Figures: of the finding, or of each class against all
others: site-stratified AUC (pairs of images compared within a hospital only), operating point, calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, unlikely
from shared.judged import Figure, Judged, known
from shared.metrics import BinaryCounts
from shared.study import Study
from shared.tasks.base import Floats, Target

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from shared.models.layers import Output


#: No sum of images reaches it; beyond it histograms would wrap.
MOST = 2**48


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None yet."""


def create(options: Options, study: Study) -> Classification:
    """Raises InputError for fewer than two labels."""
    del options
    if len(study.task.labels) != 2:
        raise InputError("task.labels", expected="two classes", got=str(len(study.task.labels)))
    return Classification(len(study.task.labels), study.input.channels)


class Classification:
    """Classification into `classes`."""

    target: Target = "class"
    noisy = True

    def __init__(self, classes: int, channels: int) -> None:
        self.outputs, self.channels, self.counts = classes, channels, BinaryCounts.LENGTH

    def presence(self, target: NDArray[np.generic]) -> NDArray[np.bool_]:
        """[n] → [n, classes]."""
        found: NDArray[np.bool_] = target[:, None] == np.arange(self.outputs)
        return found

    def example(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Both as they are."""
        del generator
        return images, target

    def loss(self, output: Tensor | Output, target: Tensor, class_weights: Sequence[float]) -> Tensor:
        """Cross entropy per image, scaled by the weight of its class, plus what the model adds, [n]."""
        import torch.nn.functional as F  # noqa: PLC0415  base.py says why

        from shared.models.layers import parts_of  # noqa: PLC0415

        logits, penalty = parts_of(output)
        logits = logits.float()
        weight = logits.new_tensor(list(class_weights))
        return F.cross_entropy(logits, target, weight=weight, reduction="none") + penalty

    def measure(self, module: nn.Module, images: Tensor, target: Tensor, views: int) -> Floats:
        """Probability of each class, averaged over the views, [n, classes]."""
        import torch  # noqa: PLC0415

        from shared.models.views import views_of  # noqa: PLC0415

        del target
        versions = [module(version).softmax(dim=1) for version in views_of(images, views)]
        found: Floats = torch.stack(versions).mean(dim=0).float().cpu().numpy().astype(np.float64)
        return found

    def count(self, measures: Floats, target: NDArray[np.generic], patients: NDArray[np.int64]) -> list[int]:
        """The finding's BinaryCounts."""
        return BinaryCounts.of(measures[:, -1], np.asarray(target, np.int64), patients).to_integers()

    def judge(self, values: Sequence[int], chosen_on: Sequence[int] | None = None) -> Judged:
        """AUC and calibration."""
        del chosen_on
        counts = BinaryCounts.from_integers(list(values))
        if max(map(abs, values), default=0) >= MOST or (not counts.noise.sites and min(values) < 0):
            raise unlikely(f"fewer than {MOST} images in a bin, none below 0 without noise", "others")
        low, high = counts.stratified_interval
        return Judged(
            kind="classification",
            images=counts.shown[0],
            figures=(
                Figure("stratified_auc", known(counts.stratified_auc), "Site-stratified AUC", known(low), known(high)),
                Figure("pooled_auc", known(counts.pooled_auc), "Pooled AUC"),
                Figure("calibration_error", known(counts.calibration_error), "Calibration error", better="lower"),
                Figure("positives", counts.shown[1], "With the finding"),
            ),
        )
