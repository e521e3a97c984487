"""UNETR (Hatamizadeh et al. 2022, arXiv 2103.10504) as MONAI builds it, GroupNorm in its convolutional part.

Places have learnt codes, so it takes images of one size: the study's, or patches of `patch` along each side.
"""

from typing import Annotated

import msgspec
from monai.networks.nets.unetr import UNETR
from msgspec import Meta
from torch import nn

from shared.errors import InputError
from shared.models.maps import Maps, fitted

#: Pixels along each side that become one token.
TOKEN = 16


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`hidden` numbers per token, a multiple of the `heads`; `width` channels of the first map; `patch`: the side of
    what the network is given where the task says `patch`, 0 for whole images."""

    hidden: Annotated[int, Meta(ge=8, le=1024)] = 96
    heads: Annotated[int, Meta(ge=1, le=16)] = 4
    width: Annotated[int, Meta(ge=4, le=64)] = 8
    groups: Annotated[int, Meta(ge=1, le=64)] = 4
    patch: Annotated[int, Meta(ge=0, le=512)] = 0


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, classes, (D,) H, W]; weights from the current random state."""
    if options.hidden % options.heads:
        got = f"{options.hidden} and {options.heads}"
        raise InputError("model.options.hidden", expected="a multiple of the heads", got=got)
    given = [min(options.patch or side, side) for side in size]
    net = UNETR(
        in_channels=channels,
        out_channels=classes,
        img_size=[side + -side % TOKEN for side in given],
        feature_size=options.width,
        hidden_size=options.hidden,
        mlp_dim=2 * options.hidden,
        num_heads=options.heads,
        norm_name="batch",
        spatial_dims=len(size),
    )
    for block in net.vit.blocks:  # what it would look at other tokens with: never used here, but it would travel
        block.cross_attn = block.norm_cross_attn = nn.Identity()
    return Maps(fitted(net, options.groups), multiple=TOKEN, scale=scale)
