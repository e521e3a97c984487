"""Swin UNETR (Hatamizadeh et al. 2022, arXiv 2201.01266) as MONAI builds it, GroupNorm in its convolutional part.

Its position tables are whole numbers that follow from the window: no weights, so they do not travel.
"""

from typing import Literal

import msgspec
from monai.networks.nets.swin_unetr import SwinUNETR
from torch import nn

from shared.models.maps import Maps, fitted

#: Five halvings.
MULTIPLE = 32


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels of the first map; `window` along each side that attention looks at; `depth` blocks at each of
    the four stages."""

    width: Literal[12, 24, 36, 48] = 12
    window: Literal[4, 7, 8] = 7
    depth: Literal[1, 2] = 2
    groups: Literal[1, 2, 4, 6, 12] = 4


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, classes, (D,) H, W]; weights from the current random state."""
    net = SwinUNETR(
        in_channels=channels,
        out_channels=classes,
        depths=(options.depth,) * 4,
        num_heads=(3, 6, 12, 24),
        window_size=options.window,
        feature_size=options.width,
        norm_name="batch",
        spatial_dims=len(size),
    )
    return Maps(fitted(net, options.groups), multiple=MULTIPLE, scale=scale)
