"""Probabilities that a network gives, of classes or of findings: how they are learnt, and what is kept of an image.

Guarantees: the loss of an image is float32 whatever the precision of the network, depends on that image alone, and
contains what the model adds; focal or not, weights and smoothing mean the same. What is kept is the mean over views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from shared.tasks.base import Floats

if TYPE_CHECKING:
    from torch import Tensor

    from shared.models.layers import Output

    #: Logits, class weights or none, smoothing → cross-entropy of each probability, [n, probabilities].
    Surprise = Callable[[Tensor, Tensor | None, float], Tensor]


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options: `loss` "focal" weighs each cross-entropy by (1 − probability of the truth)^gamma (Lin et al. 2017, arXiv
    1708.02002); `smoothing` is the share of the truth that is spread."""

    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    gamma: Annotated[float, Meta(ge=1, le=5)] = 2.0
    smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0


def loss_of(output: Tensor | Output, class_weights: Sequence[float], options: Learning, surprise: Surprise) -> Tensor:
    """Mean over the probabilities of each image, plus what the model adds, [n]."""
    from shared.models.layers import parts_of  # noqa: PLC0415  base.py says why

    logits, penalty = parts_of(output)
    logits = logits.float()
    losses = surprise(logits, logits.new_tensor(list(class_weights)), options.smoothing)
    if options.loss == "focal":
        losses = losses * (1 - (-surprise(logits, None, 0.0)).exp()) ** options.gamma
    return losses.mean(dim=1) + penalty


def kept_of(
    images: Tensor, views: int, probabilities: Callable[[Tensor], Tensor], mirrored: Sequence[int] | None = None
) -> Floats:
    """What `probabilities`, [n, C, …] → [n, any], says of the images, averaged over their views; `mirrored` as in
    shared/models/views.py."""
    from shared.models.views import over_views  # noqa: PLC0415

    return np.asarray(over_views(images, views, probabilities, mirrored).cpu().numpy(), np.float64)
