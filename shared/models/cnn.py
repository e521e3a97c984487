"""A small convolutional net: blocks of convolution, GroupNorm, activation and max-pool, then a dense head.

With `pooling = "average"` or `"max"` the head sees one number per channel, which keeps the parameters few (the
noise of private training grows with the square root of their number); `"flatten"` keeps positions.
"""

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import ACTIVATIONS, Activation, Scale, StandardisedConv2d, StandardisedConv3d, group_norm

#: the longest vector of a plan (shared/secagg/plan.py)
MOST_WEIGHTS = 2**28

#: By the sides of an image, 2 or 3: convolution, the same standardised, pooling to one number by mean and by maximum,
#: pooling by two.
_LAYERS = {
    2: (nn.Conv2d, StandardisedConv2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.MaxPool2d),
    3: (nn.Conv3d, StandardisedConv3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d, nn.MaxPool3d),
}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels in the first of `blocks`, doubled in each next one; `hidden` = 0 leaves the hidden dense
    layer out; `stride` of the first convolution; `standardise` = 1 standardises the filters."""

    blocks: Annotated[int, Meta(ge=1, le=5)] = 3
    width: Annotated[int, Meta(ge=1, le=256)] = 16
    hidden: Annotated[int, Meta(ge=0, le=4096)] = 64
    pooling: Literal["average", "max", "flatten"] = "average"
    activation: Activation = "relu"
    groups: Annotated[int, Meta(ge=1, le=64)] = 4
    stride: Literal[1, 2] = 1
    standardise: Literal[0, 1] = 0


class CNN(Backbone):
    """[n, channels, H, W] or, of volumes, [n, channels, D, H, W] in [0, 1] → logits [n, classes]."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale = Scale(*scale)
        blocks = []
        for index in range(options.blocks):
            width, stride = options.width << index, options.stride if index == 0 else 1
            blocks.append(_block(options, len(size), channels, width, stride))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool: nn.Module = {
            "average": _LAYERS[len(size)][2](1),
            "max": _LAYERS[len(size)][3](1),
            "flatten": nn.Identity(),
        }[options.pooling]
        features = channels * (_places(size, options) if options.pooling == "flatten" else 1)
        layers: list[nn.Module] = [nn.Flatten()]  # of what is flat already: it keeps the names of the weights
        if options.hidden:
            layers += [nn.Linear(features, options.hidden), ACTIVATIONS[options.activation]()]
        self.head = nn.Sequential(*layers, nn.Linear(options.hidden or features, classes))

    def body(self, images: Tensor) -> Tensor:
        """[n, channels, (D,) H, W] → [n, features]."""
        maps: Tensor = self.blocks(self.scale(images))  # [n, 4·width, H/8, W/8] with 3 blocks, stride 1
        features: Tensor = self.pool(maps).flatten(1)
        return features


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError, before any memory is taken, where
    the dense head alone has more weights than a plan may have."""
    if options.pooling == "flatten":
        features = (options.width << options.blocks - 1) * _places(size, options)
        weights = features * (options.hidden or classes)
        if weights > MOST_WEIGHTS:
            raise InputError(
                "model.options",
                expected=f"at most {MOST_WEIGHTS} weights in the head",
                got=f"{weights}",
                do='Take more blocks, fewer hidden units or pooling = "average".',
            )
    return CNN(options, channels=channels, classes=classes, size=size, scale=scale)


def _block(options: Options, sides: int, channels: int, width: int, stride: int) -> nn.Module:
    plain, standardised, _, _, pool = _LAYERS[sides]
    convolution = standardised if options.standardise else plain
    return nn.Sequential(
        convolution(channels, width, kernel_size=3, stride=stride, padding=1),
        group_norm(width, options.groups),
        ACTIVATIONS[options.activation](),
        pool(2, ceil_mode=True),
    )


def _places(size: tuple[int, ...], options: Options) -> int:
    """Pixels left of a map after the stride and the poolings, each rounding up."""
    return math.prod(-(-side // (options.stride << options.blocks)) for side in size)
