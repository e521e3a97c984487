"""Attention U-Net (Oktay et al. 2018, arXiv 1804.03999) as MONAI builds it, its batch normalisation replaced by
GroupNorm."""

from typing import Annotated

import msgspec
from monai.networks.nets.attentionunet import AttentionUnet
from msgspec import Meta
from torch import nn

from shared.models.maps import Maps, fitted


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels at the first of `levels`, doubled at each next one."""

    levels: Annotated[int, Meta(ge=2, le=6)] = 4
    width: Annotated[int, Meta(ge=2, le=64)] = 8
    groups: Annotated[int, Meta(ge=1, le=64)] = 4


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, classes, (D,) H, W]; weights from the current random state."""
    net = AttentionUnet(
        spatial_dims=len(size),
        in_channels=channels,
        out_channels=classes,
        channels=[options.width << level for level in range(options.levels)],
        strides=[2] * (options.levels - 1),
    )
    return Maps(fitted(net, options.groups), multiple=1 << (options.levels - 1), scale=scale)
