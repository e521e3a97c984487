"""RetinaNet (Lin et al. 2017, arXiv 1708.02002): what is where, and of what size, for images and volumes.

A pyramid of maps (MONAI's), each looked at by one head for scores and one for places. At every place of every map lie
anchors: boxes of a few sizes and shapes. The network says of each anchor how likely each label is and how to move it,
and repeats the anchor itself beside that, so that its output says all that is needed to read it.
"""

import math
from typing import Annotated, Literal

import msgspec
import torch
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.layers import Scale, group_norm

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
#: What every anchor's score begins with, so that the many empty ones do not drown the rest (Lin et al. 2017, §4.1).
PRIOR = 0.01
#: An anchor that is longer along one side is so many times as long as along the others.
STRETCH = 2.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`levels` maps, the finest with one place for `finest` pixels along each side; anchors of `anchor` places, at
    `scales` sizes up to twice that, as squares alone (`shapes` 1) or also longer along each side (2). `width` channels
    of the first map, doubled up to `widest`; `pyramid` of the maps that are looked at."""

    levels: Annotated[int, Meta(ge=1, le=5)] = 3
    finest: Literal[2, 4, 8] = 4
    anchor: Annotated[float, Meta(ge=0.5, le=16)] = 2.0
    scales: Annotated[int, Meta(ge=1, le=4)] = 2
    shapes: Literal[1, 2] = 1
    width: Annotated[int, Meta(ge=2, le=128)] = 16
    widest: Annotated[int, Meta(ge=2, le=512)] = 64
    pyramid: Annotated[int, Meta(ge=4, le=256)] = 32
    groups: Annotated[int, Meta(ge=1, le=64)] = 4


class RetinaNet(nn.Module):
    """[n, channels, (D,) H, W] in [0, 1] → [n, anchors, classes + 4 × sides]: logits; how far the centre moves and the
    logarithm of how much each side grows, in sides of the anchor; least and greatest place of the anchor along each
    side, in pixels."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, sides: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale, self.options, self.sides, self.classes = Scale(*scale), options, sides, classes
        halvings = int(math.log2(options.finest)) + options.levels - 1
        widths = [min(options.width << step, max(options.width, options.widest)) for step in range(halvings)]
        self.body = nn.ModuleList(
            nn.Sequential(self._convolution(before, width, 2), self._convolution(width, width))
            for before, width in zip([channels, *widths], widths, strict=False)
        )
        self.pyramid = FeaturePyramidNetwork(sides, widths[-options.levels :], options.pyramid)
        self.shapes = _shapes(options, sides)
        self.scores = self._head(classes, -math.log((1 - PRIOR) / PRIOR))
        self.places = self._head(2 * sides, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        maps, levels = self.scale(images), dict[str, Tensor]()
        for step, block in enumerate(self.body):
            maps = block(maps)
            if step >= len(self.body) - self.options.levels:
                levels[str(step)] = maps
        found = []
        for step, level in enumerate(self.pyramid(levels).values()):
            both = [self._rows(head(level)) for head in (self.scores, self.places)]
            anchors = self._anchors(tuple(level.shape[2:]), self.options.finest << step).to(images.device)
            found.append(torch.cat([*both, anchors.expand(images.shape[0], -1, -1)], dim=2))
        return torch.cat(found, dim=1)

    def _rows(self, maps: Tensor) -> Tensor:
        """[n, shapes × numbers, H, W] → [n, H × W × shapes, numbers]."""
        parts = torch.unflatten(maps, 1, (len(self.shapes), -1)).movedim((1, 2), (-2, -1))  # [n, H, W, shapes, numbers]
        rows: Tensor = parts.flatten(1, -2).float()
        return rows

    def _anchors(self, places: tuple[int, ...], stride: int) -> Tensor:
        """[H × W × shapes, 2 × sides], in the order of `_rows`."""
        axes = [(torch.arange(count) + 0.5) * stride for count in places]
        centres = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)[..., None, :]  # [H, W, 1, sides]
        halves = torch.tensor(self.shapes) * (stride / 2)  # [shapes, sides]
        return torch.cat([centres - halves, centres + halves], dim=-1).flatten(0, -2)

    def _convolution(self, channels: int, width: int, stride: int = 1) -> nn.Module:
        layer = _CONVOLUTIONS[self.sides](channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        return nn.Sequential(layer, group_norm(width, self.options.groups), nn.ReLU())

    def _head(self, numbers: int, beginning: float) -> nn.Module:
        width = self.options.pyramid
        last = _CONVOLUTIONS[self.sides](width, len(self.shapes) * numbers, kernel_size=3, padding=1)
        nn.init.normal_(last.weight, std=0.01)
        if last.bias is not None:
            nn.init.constant_(last.bias, beginning)
        return nn.Sequential(self._convolution(width, width), last)


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for small images."""
    coarsest = options.finest << (options.levels - 1)
    if min(size) < coarsest:
        got = " × ".join(map(str, size))
        raise InputError("input.size", expected=f"sides of at least {coarsest} for so many levels", got=got)
    return RetinaNet(options, channels=channels, classes=classes, sides=len(size), scale=scale)


def _shapes(options: Options, sides: int) -> list[tuple[float, ...]]:
    """Sides of each anchor at a place, in places; those that are longer along a side have the same area or volume."""
    sizes = [options.anchor * 2 ** (step / options.scales) for step in range(options.scales)]
    longer = [tuple(STRETCH ** (float(side == long) - 1 / sides) for side in range(sides)) for long in range(sides)]
    forms = [(1.0,) * sides, *(longer if options.shapes == 2 else [])]
    return [tuple(size * side for side in form) for size in sizes for form in forms]
