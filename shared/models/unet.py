"""A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) for images and volumes of any size.

Convolutions, GroupNorm and plain enlarging only: every layer is one that client/training/gradients/layers.py knows, so
private training of it is quick. Other networks with maps are MONAI's (dynunet, segresnet, swinunetr, unetr).
"""

from typing import Annotated, Literal

import msgspec
import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from shared.models.layers import ACTIVATIONS, Activation, Scale, StandardisedConv2d, StandardisedConv3d, group_norm

_CONVOLUTIONS = {2: (nn.Conv2d, StandardisedConv2d), 3: (nn.Conv3d, StandardisedConv3d)}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels at the first of `levels`, doubled at each next one up to `widest`; `convolutions` at each;
    `stride` 2 computes at half the resolution; `standardise` = 1 standardises the filters."""

    levels: Annotated[int, Meta(ge=2, le=7)] = 4
    width: Annotated[int, Meta(ge=1, le=128)] = 16
    widest: Annotated[int, Meta(ge=1, le=1024)] = 128
    convolutions: Annotated[int, Meta(ge=1, le=3)] = 1
    groups: Annotated[int, Meta(ge=1, le=64)] = 1
    activation: Activation = "relu"
    stride: Literal[1, 2] = 1
    standardise: Literal[0, 1] = 0


class UNet(nn.Module):
    """[n, channels, (D,) H, W] in [0, 1] → logits [n, classes, (D,) H, W]."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, sides: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale, self.sides = Scale(*scale), sides
        widths = [min(options.width << level, max(options.width, options.widest)) for level in range(options.levels)]
        self.stem = self._convolution(options, channels, widths[0], options.stride)
        self.down = nn.ModuleList(
            self._level(options, before, width) for before, width in zip([widths[0], *widths], widths, strict=False)
        )
        self.middle = self._level(options, widths[-1], widths[-1])
        self.up = nn.ModuleList(
            self._level(options, below + width, width)
            for width, below in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True)
        )
        self.head = _CONVOLUTIONS[sides][0](widths[0], classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the images' own size."""
        maps = self.stem(self.scale(images))  # [n, width, H / stride, W / stride]
        levels: list[Tensor] = []
        for level in self.down:
            maps = level(self._half(maps) if levels else maps)
            levels.append(maps)
        maps = self.middle(levels.pop())
        for level in self.up:
            beside = levels.pop()
            maps = level(torch.cat([F.interpolate(maps, size=beside.shape[2:]), beside], dim=1))
        logits: Tensor = self.head(maps)
        if logits.shape[2:] == images.shape[2:]:
            return logits
        mode = "bilinear" if self.sides == 2 else "trilinear"
        return F.interpolate(logits.float(), size=images.shape[2:], mode=mode, align_corners=False)

    def _half(self, maps: Tensor) -> Tensor:
        """[n, C, H, W] → [n, C, ⌈H / 2⌉, ⌈W / 2⌉]."""
        pool = F.max_pool2d if self.sides == 2 else F.max_pool3d
        smaller: Tensor = pool(maps, 2, ceil_mode=True)
        return smaller

    def _level(self, options: Options, channels: int, width: int) -> nn.Module:
        inputs = [channels, *[width] * (options.convolutions - 1)]
        return nn.Sequential(*(self._convolution(options, each, width) for each in inputs))

    def _convolution(self, options: Options, channels: int, width: int, stride: int = 1) -> nn.Module:
        convolution = _CONVOLUTIONS[self.sides][options.standardise]
        return nn.Sequential(
            convolution(channels, width, kernel_size=3, stride=stride, padding=1, bias=False),
            group_norm(width, options.groups),
            ACTIVATIONS[options.activation](),
        )


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state."""
    return UNet(options, channels=channels, classes=classes, sides=len(size), scale=scale)
