"""Pieces that models share: the fixed input scale, group normalisation, weight-standardised convolution.

All of them treat each image on its own, so one patient's gradient never depends on another's images.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "tanh", "silu"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}

#: Public constants, not statistics of any hospital's data: with them [0, 1] becomes [-2, 2].
CENTRE, SPREAD = 0.5, 0.25


class Output(NamedTuple):
    """What a model may return in training mode instead of its logits [n, classes]: those, and a `penalty` [n]
    for each image to be added to its loss."""

    logits: Tensor
    penalty: Tensor


def parts_of(output: "Tensor | Output") -> tuple[Tensor, Tensor | float]:
    """What a model returned as its logits and what it adds to the loss of each image, [n] or 0."""
    return (output.logits, output.penalty) if isinstance(output, Output) else (output, 0.0)


class Scale(nn.Module):
    """[0, 1] → (x − `centre`) / `spread`, any shape; no weights."""

    def __init__(self, centre: float = CENTRE, spread: float = SPREAD) -> None:
        super().__init__()
        self.centre, self.spread = centre, spread

    def forward(self, images: Tensor) -> Tensor:
        """Same shape as `images`."""
        return (images - self.centre) / self.spread


class StandardisedConv2d(nn.Conv2d):
    """Convolution whose filters are shifted and scaled to mean 0 and variance 1 / fan-in before use (Qiao et al.
    2019, arXiv 1903.10520; for private training De et al. 2022, §3.2)."""

    def forward(self, images: Tensor) -> Tensor:
        """[n, in, H, W] → [n, out, H, W]."""
        weight = standardised(self.weight)
        return F.conv2d(images, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class StandardisedConv3d(nn.Conv3d):
    """As StandardisedConv2d, of volumes."""

    def forward(self, images: Tensor) -> Tensor:
        """[n, in, D, H, W] → [n, out, D, H, W]."""
        weight = standardised(self.weight)
        return F.conv3d(images, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def standardised(weight: Tensor) -> Tensor:
    """Filters [out, in, …], each with mean 0 and variance 1 / fan-in."""
    fan_in = weight[0].numel()
    variance, mean = torch.var_mean(weight, dim=tuple(range(1, weight.dim())), keepdim=True, correction=0)
    return (weight - mean) * torch.rsqrt(variance * fan_in + 1e-4)


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm over `channels` with the largest group count ≤ `groups` that divides them."""
    return nn.GroupNorm(max(g for g in range(1, groups + 1) if channels % g == 0), channels)
