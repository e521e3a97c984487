"""What a model computes of an image before its first trained weight, computed once for each image.

A module may say `fixed(images [n, C, H, W]) -> features [n, F]`, which no trained weight and no generator enters, and
`learned(features)`, so that `forward(x)` is `learned(fixed(x))`; one that can be trained whole says by `resting`
whether that is so (shared/models/backbone.py). Where the images of a step are the same each time (no
augmentation), training on the features gives the same gradients as training on the images.

Guarantees: nothing of it leaves, and nothing in the result tells that it was done; one image at a time, so that no
image's features depend, not in their last bit, on which others there are (client/training/gradients/precision.py).
"""

from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.images import Images, Split
from shared.models.layers import Output
from shared.study import Training


@runtime_checkable
class Fixed(Protocol):
    """A module that begins with a part that is not trained."""

    def fixed(self, images: Tensor) -> Tensor:
        """[n, C, H, W] → [n, F]."""

    def learned(self, features: Tensor) -> Tensor | Output:
        """[n, F] → what the module returns."""


class Learned(nn.Module):
    """The trained part of `module`, with its very weights."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Tensor) -> Tensor | Output:
        """[n, F] → what the module returns of the images."""
        return cast(Fixed, self.module).learned(features)


@runtime_checkable
class Observing(Protocol):
    """A module that keeps figures of its features over the training images, of all hospitals together."""

    @property
    def observes(self) -> bool:
        """Whether it does."""

    def observe(self, features: Tensor) -> None:
        """Take this hospital's, from its features [n, F]."""


def observe(module: nn.Module, images: Images) -> None:
    """Let the module behind `Learned` take its figures of the features that `images` hold in the place of pixels."""
    if isinstance(module, Learned) and isinstance(module.module, Observing):
        features = torch.from_numpy(images.tensors(images.rows(Split.TRAIN)))
        module.module.observe(features.to(next(module.parameters()).device))


def has_fixed(module: nn.Module, training: Training) -> bool:
    """Whether features may take the place of images."""
    return isinstance(module, Fixed) and getattr(module, "resting", True) and not training.augmentation


def features_of(module: nn.Module, images: Images) -> Images:
    """`images` with features of the training images in the place of pixels, float32 [M, F]; the others have none."""
    rows = images.rows(Split.TRAIN)
    place = np.full(len(images.target), -1)
    place[rows] = np.arange(len(rows))
    return Images(_fixed(module, images, rows), images.target, images.patient, images.keys, images.split, place)


def _fixed(module: nn.Module, images: Images, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    device = next(module.parameters()).device
    pieces = []
    with torch.inference_mode():
        shape = cast(Fixed, module).fixed(torch.zeros(1, *images.pixels.shape[1:], device=device)).shape
        for row in rows:
            pixels = torch.from_numpy(images.tensors(row[None])).to(device)
            pieces.append(cast(Fixed, module).fixed(pixels).cpu().numpy())
    return np.concatenate([np.empty((0, *shape[1:]), np.float32), *pieces])
