"""SegResNet (Myronenko 2018, arXiv 1810.11654, without its autoencoder) as MONAI builds it: GroupNorm and no transposed
convolution, so every layer is one that client/training/gradients/layers.py knows."""

from typing import Annotated, Literal

import msgspec
from monai.networks.blocks.segresnet_block import ResBlock
from monai.networks.nets.segresnet import SegResNet
from msgspec import Meta
from torch import Tensor, nn

from shared.models.maps import Maps, fitted


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels, a multiple of the `groups`, at the first of `levels`, doubled at each next one; `blocks` on the
    way down at each level but the first, which has one, as have all on the way up."""

    levels: Annotated[int, Meta(ge=2, le=6)] = 4
    width: Literal[8, 16, 32, 64] = 8
    blocks: Annotated[int, Meta(ge=1, le=4)] = 2
    groups: Literal[1, 2, 4, 8] = 8


class Block(nn.Module):
    """A ResBlock of MONAI's with its layers, which adds nothing in place: hooks on its layers allow no such thing."""

    def __init__(self, block: ResBlock) -> None:
        super().__init__()
        self.first = nn.Sequential(block.norm1, block.act, block.conv1)
        self.second = nn.Sequential(block.norm2, block.act, block.conv2)

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape."""
        added: Tensor = self.second(self.first(maps))
        return maps + added


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, classes, (D,) H, W]; weights from the current random state."""
    net = SegResNet(
        spatial_dims=len(size),
        init_filters=options.width,
        in_channels=channels,
        out_channels=classes,
        act=("relu", {"inplace": False}),
        norm=("group", {"num_groups": options.groups}),
        blocks_down=(1, *[options.blocks] * (options.levels - 1)),
        blocks_up=(1,) * (options.levels - 1),
    )
    for parent in list(net.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, ResBlock):
                setattr(parent, name, Block(part))
    return Maps(fitted(net, options.groups), multiple=1 << (options.levels - 1), scale=scale)
