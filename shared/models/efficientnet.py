"""EfficientNet (Tan and Le 2019, arXiv 1905.11946) as MONAI builds it, made fit for private training.

GroupNorm takes the place of BatchNorm, swish keeps no graph of its own, and nothing is dropped at random: in training
an image goes the same way as in evaluation.
"""

from typing import Literal

import msgspec
from monai.networks.nets.efficientnet import EfficientNetBN, MBConvBlock
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import Scale

#: Five halvings: below this the last maps would be empty.
LEAST_SIDE = 32


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`variant` as published, from 4 to 10 million weights; `groups` of every GroupNorm: all channel counts are
    multiples of 8."""

    variant: Literal["b0", "b1", "b2", "b3"] = "b0"
    groups: Literal[1, 2, 4, 8] = 8


class Efficient(Backbone):
    """[n, channels, H, W] or, of volumes, [n, channels, D, H, W] in [0, 1] → logits [n, classes]."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, sides: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale = Scale(*scale)
        self.net = EfficientNetBN(
            f"efficientnet-{options.variant}",
            pretrained=False,
            spatial_dims=sides,
            in_channels=channels,
            num_classes=classes,
            norm=("group", {"num_groups": options.groups}),
        )
        self.net.set_swish(memory_efficient=False)
        for part in self.net.modules():
            if isinstance(part, MBConvBlock):
                part.drop_connect_rate = None
        self.head = nn.Linear(self.net._fc.in_features, classes)
        for name in ("_fc", "_dropout"):
            self.net.set_submodule(name, nn.Identity())

    def body(self, images: Tensor) -> Tensor:
        """[n, channels, (D,) H, W] → [n, features]."""
        features: Tensor = self.net(self.scale(images))
        return features


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for small images."""
    if min(size) < LEAST_SIDE:
        given = " × ".join(map(str, size))
        raise InputError("input.size", expected=f"sides of at least {LEAST_SIDE} for efficientnet", got=given)
    return Efficient(options, channels=channels, classes=classes, sides=len(size), scale=scale)
