"""DenseNet (Huang et al. 2017) as MONAI builds it, made fit for private training.

GroupNorm takes the place of BatchNorm, and no ReLU works in place, so per-sample gradients are right and
Opacus's `ModuleValidator` passes.
"""

from typing import Literal

import msgspec
from monai.networks.nets.densenet import DenseNet, DenseNet121
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import Scale

#: Five halvings: below this the last maps would be empty.
LEAST_SIDE = 32


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`groups` of every GroupNorm; all channel counts of the net are multiples of 32."""

    groups: Literal[4, 8, 16, 32] = 8


class Dense(Backbone):
    """[n, channels, H, W] or, of volumes, [n, channels, D, H, W] in [0, 1] → logits [n, classes]; `net` is one of
    MONAI's depths."""

    def __init__(
        self,
        net: type[DenseNet],
        options: Options,
        *,
        channels: int,
        classes: int,
        sides: int,
        scale: tuple[float, float],
    ) -> None:
        super().__init__()
        self.scale = Scale(*scale)
        self.net = net(
            spatial_dims=sides,
            in_channels=channels,
            out_channels=classes,
            norm=("group", {"num_groups": options.groups}),
            act=("relu", {"inplace": False}),
        )
        for part in self.net.modules():  # MONAI's transitions and head take no `act`
            if isinstance(part, nn.ReLU):
                part.inplace = False
        self.head = self.net.class_layers.get_submodule("out")
        self.net.class_layers.set_submodule("out", nn.Identity())

    def body(self, images: Tensor) -> Tensor:
        """[n, channels, (D,) H, W] → [n, features]."""
        features: Tensor = self.net(self.scale(images))
        return features


def create(
    options: Options,
    *,
    channels: int,
    classes: int,
    size: tuple[int, ...],
    scale: tuple[float, float],
    net: type[DenseNet] = DenseNet121,
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for small images."""
    if min(size) < LEAST_SIDE:
        raise InputError(
            "input.size", expected=f"sides of at least {LEAST_SIDE} for a densenet", got=" × ".join(map(str, size))
        )
    return Dense(net, options, channels=channels, classes=classes, sides=len(size), scale=scale)
