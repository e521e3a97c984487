"""A series of slices, read one after another: the same small net for each slice, then a gated recurrent unit.

For volumes, and for stacks whose channels are neighbouring slices. The unit (Cho et al. 2014, arXiv 1406.1078, in the
form of cuDNN's) is made of two dense layers used once a slice, so every way to per-patient gradients knows it
(client/training/gradients).
"""

from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import ACTIVATIONS, Activation, Scale, group_norm

#: A series' end is best known to its last state; what lies in its middle to the mean of all.
Reading = Literal["last", "mean", "max"]
_POOLS = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of each slice: `width` channels in the first of `blocks`, doubled in each next one, and of each its `pooling`
    over the slice: the mean, or the maximum for what is small in it. Over the slices: a state of `state` numbers,
    `both` = 1 in both directions; `reading`: the last state, or the mean or maximum of all."""

    blocks: Annotated[int, Meta(ge=1, le=5)] = 3
    width: Annotated[int, Meta(ge=1, le=256)] = 8
    pooling: Literal["average", "max"] = "average"
    state: Annotated[int, Meta(ge=1, le=1024)] = 32
    both: Literal[0, 1] = 0
    reading: Reading = "mean"
    activation: Activation = "relu"
    groups: Annotated[int, Meta(ge=1, le=64)] = 4


class Gated(nn.Module):
    """A gated recurrent unit, [n, steps, inputs] → its states [n, steps, state]."""

    def __init__(self, inputs: int, state: int) -> None:
        super().__init__()
        self.state = state
        self.of_input, self.of_state = nn.Linear(inputs, 3 * state), nn.Linear(state, 3 * state)

    def forward(self, steps: Tensor) -> Tensor:
        """From a state of zeros."""
        given = self.of_input(steps)  # [n, steps, 3 · state]
        state, states = steps.new_zeros(steps.shape[0], self.state), []
        for step in given.unbind(dim=1):
            reset, update, new = step.chunk(3, dim=1)
            before_reset, before_update, before_new = self.of_state(state).chunk(3, dim=1)
            gate = torch.sigmoid(update + before_update)
            candidate = torch.tanh(new + torch.sigmoid(reset + before_reset) * before_new)
            state = gate * state + (1 - gate) * candidate
            states.append(state)
        return torch.stack(states, dim=1)


class Series(Backbone):
    """[n, channels, D, H, W], or [n, slices, H, W] of stacks, in [0, 1] → logits [n, classes]."""

    def __init__(self, options: Options, *, channels: int, classes: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale, self.reading = Scale(*scale), options.reading
        layers: list[nn.Module] = []
        for index in range(options.blocks):
            width = options.width << index
            layers += [nn.Conv2d(channels, width, 3, padding=1), group_norm(width, options.groups)]
            layers += [ACTIVATIONS[options.activation](), nn.MaxPool2d(2, ceil_mode=True)]
            channels = width
        self.slices = nn.Sequential(*layers, _POOLS[options.pooling](1), nn.Flatten())
        self.units = nn.ModuleList(Gated(channels, options.state) for _ in range(1 + options.both))
        self.head = nn.Linear(options.state * (1 + options.both), classes)

    def body(self, images: Tensor) -> Tensor:
        """What was read of the series, [n, channels, D, H, W] or [n, D, H, W] → [n, features]."""
        volumes = images[:, None] if images.dim() == 4 else images
        every = self.scale(volumes).transpose(1, 2)  # [n, D, channels, H, W]
        found = self.slices(every.flatten(0, 1)).unflatten(0, every.shape[:2])  # [n, D, width]
        ways = [found, found.flip(1)][: len(self.units)]
        return torch.cat([self._read(unit(way)) for unit, way in zip(self.units, ways, strict=True)], dim=1)

    def _read(self, states: Tensor) -> Tensor:
        """[n, D, state] → [n, state]."""
        if self.reading == "last":
            return states[:, -1]
        return states.mean(dim=1) if self.reading == "mean" else states.amax(dim=1)


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for single images of one channel,
    which are no series."""
    if len(size) == 2 and channels == 1:
        raise InputError("model.name", expected='recurrent with input.kind = "volume" or "stack"', got="single images")
    return Series(options, channels=channels if len(size) == 3 else 1, classes=classes, scale=scale)
