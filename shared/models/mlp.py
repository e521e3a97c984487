"""The plainest net there is: the image made small, and dense layers on its pixels. A baseline, and for small machines.

With `hidden = 0` it is a logistic regression on the pixels.
"""

from typing import Annotated

import msgspec
from msgspec import Meta
from torch import Tensor, nn

from shared.models.backbone import Backbone
from shared.models.layers import ACTIVATIONS, Activation, Scale

_POOLS: dict[int, type[nn.Module]] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The image is averaged to `side` places along each of its sides; `layers` dense layers of `hidden` units follow,
    none where `hidden` = 0."""

    side: Annotated[int, Meta(ge=1, le=64)] = 8
    hidden: Annotated[int, Meta(ge=0, le=4096)] = 64
    layers: Annotated[int, Meta(ge=1, le=8)] = 1
    activation: Activation = "relu"


class Dense(Backbone):
    """[n, channels, H, W] or, of volumes, [n, channels, D, H, W] in [0, 1] → logits [n, classes]."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, sides: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [Scale(*scale), _POOLS[sides](options.side), nn.Flatten()]
        features = channels * options.side**sides
        for _ in range(options.layers if options.hidden else 0):
            layers += [nn.Linear(features, options.hidden), ACTIVATIONS[options.activation]()]
            features = options.hidden
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(features, classes)

    def body(self, images: Tensor) -> Tensor:
        """[n, channels, (D,) H, W] → [n, features]."""
        features: Tensor = self.layers(images)
        return features


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state."""
    return Dense(options, channels=channels, classes=classes, sides=len(size), scale=scale)
