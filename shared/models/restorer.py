"""A residual network that makes an image better: what it adds to the image is learnt, the image itself passes by.

Convolutions, GroupNorm and short cuts as in EDSR and DnCNN (Lim et al. 2017, arXiv 1707.02921; Zhang et al. 2017, arXiv
1608.03981). With a `stride` it works on a grid so many times coarser, as super-resolution of an enlarged image may, and
comes back by sub-pixel convolution (Shi et al. 2016, arXiv 1609.05158).
"""

from typing import Annotated, Literal

import msgspec
from monai.networks.blocks.upsample import SubpixelUpsample
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.layers import Scale, group_norm

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` channels in `blocks` of two convolutions each; `stride` of the first one."""

    width: Annotated[int, Meta(ge=2, le=256)] = 16
    blocks: Annotated[int, Meta(ge=1, le=32)] = 4
    stride: Literal[1, 2, 4] = 1
    groups: Annotated[int, Meta(ge=1, le=64)] = 4


class Restorer(nn.Module):
    """[n, channels, (D,) H, W] in [0, 1] → as many channels `classes`, the first of the image's plus a correction."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, sides: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        convolution, self.classes = _CONVOLUTIONS[sides], classes
        self.scale = Scale(*scale)
        self.first = convolution(channels, options.width, 2 * options.stride - 1 + 2, options.stride, options.stride)
        self.blocks = nn.ModuleList(_block(options, sides) for _ in range(options.blocks))
        self.up: nn.Module = (
            nn.Identity()
            if options.stride == 1
            else SubpixelUpsample(
                sides, options.width, options.width, scale_factor=options.stride, apply_pad_pool=False
            )
        )
        self.last = convolution(options.width, classes, 3, padding=1)
        for weight in self.last.parameters():
            nn.init.zeros_(weight)  # it begins by changing nothing

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels, …] → [n, classes, …]."""
        maps: Tensor = self.first(self.scale(images))  # [n, width, …/stride]
        for block in self.blocks:
            maps = maps + block(maps)
        corrected: Tensor = images[:, : self.classes] + self.last(self.up(maps))
        return corrected


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for sides that the stride does not
    divide, and for a task that wants other channels than the image has."""
    if any(side % options.stride for side in size):
        raise InputError(
            "input.size", expected=f"multiples of the stride {options.stride}", got=" × ".join(map(str, size))
        )
    if classes > channels:
        raise InputError(
            "model.name",
            expected="a task that makes images of images with restorer",
            got=f"{classes} of {channels} channels",
        )
    return Restorer(options, channels=channels, classes=classes, sides=len(size), scale=scale)


def _block(options: Options, sides: int) -> nn.Module:
    convolution = _CONVOLUTIONS[sides]
    return nn.Sequential(
        group_norm(options.width, options.groups),
        convolution(options.width, options.width, 3, padding=1),
        nn.ReLU(),
        convolution(options.width, options.width, 3, padding=1),
    )
