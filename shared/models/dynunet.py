"""DynUNet, the U-Net of nnU-Net (Isensee et al. 2021, Nature Methods 18:203) as MONAI builds it, with GroupNorm.

A side that is short is halved less often: the plan of strides follows from the study's size, as nnU-Net's does.
"""

from typing import Annotated, Literal

import msgspec
from monai.networks.nets.dynunet import DynUNet
from msgspec import Meta
from torch import nn

from shared.models.maps import Maps, fitted

#: A side is halved while it stays as long as this.
SHORTEST = 4


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels at the first of `levels`, doubled at each next one up to `widest`; `residual` = 1: blocks with a
    way around them."""

    levels: Annotated[int, Meta(ge=3, le=7)] = 4
    width: Annotated[int, Meta(ge=1, le=64)] = 16
    widest: Annotated[int, Meta(ge=1, le=512)] = 128
    groups: Annotated[int, Meta(ge=1, le=64)] = 8
    residual: Literal[0, 1] = 0


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, classes, (D,) H, W]; weights from the current random state."""
    strides = [[1] * len(size), *_strides(size, options.levels - 1)]
    net = DynUNet(
        spatial_dims=len(size),
        in_channels=channels,
        out_channels=classes,
        kernel_size=[3] * options.levels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=[min(options.width << level, max(options.width, options.widest)) for level in range(options.levels)],
        norm_name="batch",
        act_name=("leakyrelu", {"inplace": False, "negative_slope": 0.01}),
        res_block=bool(options.residual),
    )
    # DynUNet lists its blocks twice; those of `skip_layers` are all of them but the last.
    whole = nn.Sequential(net.skip_layers, net.output_block)
    return Maps(fitted(whole, options.groups), multiple=1 << (options.levels - 1), scale=scale)


def _strides(size: tuple[int, ...], halvings: int) -> list[list[int]]:
    """Of each level below the first, by side."""
    left, found = list(size), []
    for _ in range(halvings):
        found.append([2 if side >= 2 * SHORTEST else 1 for side in left])
        left = [side // stride for side, stride in zip(left, found[-1], strict=True)]
    return found
