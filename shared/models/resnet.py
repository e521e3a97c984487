"""Residual nets (He et al. 2015, arXiv 1512.03385) in two and three dimensions, made fit for private training.

GroupNorm stands where BatchNorm was, nothing works in place, and filters may be standardised. MONAI's ResNet keeps
BatchNorm inside its stages whatever norm it is given, so this one is our own; names of its weights are torchvision's
(`layer1.0.conv1`, `bn1`, `downsample.0`), so that weights from there fit without a map, but for the head.
"""

from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import ACTIVATIONS, Activation, Scale, StandardisedConv2d, StandardisedConv3d, group_norm

#: Blocks of each stage, by depth (He et al. 2015, table 1); 50 has blocks with a bottleneck.
DEPTHS: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
#: Of a stem: side of its filters, its stride, and whether pooling by two follows.
STEMS = {"small": (3, 1, False), "halving": (3, 2, True), "strided": (7, 2, True)}
#: A bottleneck's outputs for each of its inner channels.
WIDER = 4
_CONVOLUTIONS = {2: (nn.Conv2d, StandardisedConv2d), 3: (nn.Conv3d, StandardisedConv3d)}
_MEANS: dict[int, type[nn.Module]] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
_MOSTS: dict[int, type[nn.Module]] = {2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}
_POOLS: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_HALVES: dict[int, type[nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`depth` as published, or `blocks` of each stage in its place, as in "1-1-1"; `width` channels in the first stage,
    doubled in each next one; `stem`: "small" (3 × 3, for images up to about 64), "halving" (3 × 3, a quarter of the
    sides) or "strided" (7 × 7, the same) of `stem_width` channels, 0 for `width`; `groups` of every GroupNorm at most;
    `standardise` = 1 standardises the filters; `shortcut`: past a stage's first block by a strided convolution, or by
    the mean of two by two and a convolution; `pooling` = "both" gives the head means and maxima."""

    depth: Literal[18, 34, 50] = 18
    blocks: Annotated[str, Meta(pattern=r"\A([1-9][0-9]?(-[1-9][0-9]?){0,4})?\Z")] = ""
    width: Annotated[int, Meta(ge=4, le=512)] = 64
    stem: Literal["small", "halving", "strided"] = "strided"
    stem_width: Annotated[int, Meta(ge=0, le=512)] = 0
    groups: Annotated[int, Meta(ge=1, le=64)] = 8
    activation: Activation = "relu"
    standardise: Literal[0, 1] = 0
    shortcut: Literal["convolution", "average"] = "convolution"
    pooling: Literal["average", "both"] = "average"

    @property
    def stages(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(map(int, self.blocks.split("-"))) if self.blocks else DEPTHS[self.depth]


class Residual(Backbone):
    """[n, channels, H, W] or, of volumes, [n, channels, D, H, W] in [0, 1] → logits [n, classes]."""

    def __init__(
        self, options: Options, *, channels: int, classes: int, sides: int, scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale = Scale(*scale)
        side, stride, pooled = STEMS[options.stem]
        width = options.stem_width or options.width
        self.conv1 = _convolution(options, sides, channels, width, side=side, stride=stride)
        self.bn1 = group_norm(width, options.groups)
        self.act = ACTIVATIONS[options.activation]()
        self.maxpool = _POOLS[sides](3, stride=2, padding=1) if pooled else nn.Identity()
        for number, blocks in enumerate(options.stages):
            made = []
            for index in range(blocks):
                block = Block(options, sides, width, options.width << number, 2 if number and not index else 1)
                made.append(block)
                width = block.outputs
            self.add_module(f"layer{number + 1}", nn.Sequential(*made))
        self.stages = len(options.stages)
        self.mean = _MEANS[sides](1)
        self.most = _MOSTS[sides](1) if options.pooling == "both" else None
        self.head = nn.Linear(width * (1 if self.most is None else 2), classes)

    def body(self, images: Tensor) -> Tensor:
        """[n, channels, (D,) H, W] → [n, features]."""
        maps: Tensor = self.maxpool(self.act(self.bn1(self.conv1(self.scale(images)))))
        for number in range(self.stages):
            maps = self.get_submodule(f"layer{number + 1}")(maps)
        pooled: Tensor = self.mean(maps).flatten(1)
        return pooled if self.most is None else torch.cat([pooled, self.most(maps).flatten(1)], dim=1)


class Block(nn.Module):
    """Two convolutions of side 3, or three with a bottleneck, past which the input goes too."""

    def __init__(self, options: Options, sides: int, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        deep = options.depth == 50 and not options.blocks
        self.outputs = WIDER * width if deep else width
        shapes = (
            [(1, 1, width), (3, stride, width), (1, 1, self.outputs)] if deep else [(3, stride, width), (3, 1, width)]
        )
        self.layers, channels = len(shapes), inputs
        for number, (side, step, outputs) in enumerate(shapes, 1):
            self.add_module(f"conv{number}", _convolution(options, sides, channels, outputs, side=side, stride=step))
            self.add_module(f"bn{number}", group_norm(outputs, options.groups))
            channels = outputs
        self.act = ACTIVATIONS[options.activation]()
        self.downsample = _shortcut(options, sides, inputs, self.outputs, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """[n, inputs, …] → [n, outputs, …], each side divided by the stride."""
        found = maps
        for number in range(1, self.layers + 1):
            found = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(found))
            if number < self.layers:
                found = self.act(found)
        result: Tensor = self.act(found + self.downsample(maps))
        return result


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for images that would vanish."""
    least = STEMS[options.stem][1] * (2 if STEMS[options.stem][2] else 1) << len(options.stages) - 1
    if min(size) < least:
        given = " × ".join(map(str, size))
        raise InputError(
            "input.size",
            expected=f"sides of at least {least} for this resnet",
            got=given,
            do='Take model.options.stem = "small" or fewer stages of blocks.',
        )
    return Residual(options, channels=channels, classes=classes, sides=len(size), scale=scale)


def _convolution(options: Options, sides: int, inputs: int, outputs: int, *, side: int, stride: int) -> nn.Module:
    """Without a bias: a norm follows. He et al. 2015, arXiv 1502.01852, eq. 10, by the outputs."""
    kind = _CONVOLUTIONS[sides][options.standardise]
    made = kind(inputs, outputs, kernel_size=side, stride=stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def _shortcut(options: Options, sides: int, inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if options.shortcut == "average" and stride > 1:
        halved = _HALVES[sides](stride, ceil_mode=True)
        return nn.Sequential(halved, _convolution(options, sides, inputs, outputs, side=1, stride=1))
    convolution = _convolution(options, sides, inputs, outputs, side=1, stride=stride)
    return nn.Sequential(convolution, group_norm(outputs, options.groups))
