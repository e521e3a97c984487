"""Fixed wavelets, then a small trained head: for private training on few patients.

What a private model can learn is limited by the noise, whose length grows with the square root of the number of
trained weights. Here the filters are not trained: a pyramid of oriented Gabor and round band-pass filters, their
strength averaged over the image in several ways, its logarithm taken (Bruna and Mallat 2013, arXiv 1203.1513;
for private training Tramèr and Boneh 2021, arXiv 2011.11660). Only the head on top learns. Nothing here is fitted
to any hospital's data, and no position survives: a finding counts the same wherever it lies.
"""

import math
from typing import Annotated, Literal

import msgspec
import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from shared.models.layers import ACTIVATIONS, Activation, Output

#: Side of the Gabor and round filters, and their shapes in pixels of their scale.
GABOR, ROUND = 7, 11
ENVELOPE, SLANT, FREQUENCY = 1.0, 0.6, 0.6 * math.pi
ROUND_WIDTHS = ((1.0, 1.6), (1.4, 2.3))
#: log(x + FLOOR): differences of strength below it are taken for noise.
FLOOR = 1e-2
#: Public constants that bring the logarithms of natural images near 0 ± 1.
CENTRE, SPREAD = -3.0, 1.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scales` octaves of filters, in `angles` directions; `order` = 2 also looks at how each strength varies;
    `hidden` units between the statistics and the logits, 0 for a linear head."""

    scales: Annotated[int, Meta(ge=1, le=6)] = 3
    angles: Annotated[int, Meta(ge=2, le=16)] = 6
    order: Literal[1, 2] = 1
    hidden: Annotated[int, Meta(ge=0, le=1024)] = 0
    activation: Activation = "tanh"
    pull: float = 0.25
    gain: float = 2.0


class Wavelets(nn.Module):
    """[n, channels, H, W] in [0, 1] → statistics [n, features]; nothing in it is trained."""

    gabor: Tensor
    round: Tensor
    blur: Tensor

    def __init__(self, options: Options, channels: int) -> None:
        super().__init__()
        self.scales, self.angles, self.order = options.scales, options.angles, options.order
        # Not saved with the weights: constants of this file.
        self.register_buffer("gabor", _gabors(options.angles), persistent=False)
        self.register_buffer("round", _rounds(), persistent=False)
        self.register_buffer("blur", _gaussian(1.0, 5)[None, None], persistent=False)
        bands = self.scales * (2 * len(ROUND_WIDTHS) + self.angles)
        if self.order == 2:
            bands += self.angles * self.angles * self.scales * (self.scales - 1) // 2
        self.features = 3 * channels * (bands + 1)

    def forward(self, images: Tensor) -> Tensor:
        """[n, C, H, W] → [n, features], about 0 ± 1."""
        maps = []
        for scale in range(self.scales):
            strength = self._strengths(images)
            maps += [self._rounds(images), strength]
            for _ in range(scale + 1, self.scales if self.order == 2 else 0):
                strength = self._halve(strength)
                maps.append(self._strengths(strength))
            images = self._halve(images)
        maps.append(images)
        statistics = torch.cat([_statistics(m) for m in maps], dim=1)
        return (torch.log(statistics + FLOOR) - CENTRE) / SPREAD

    def _strengths(self, images: Tensor) -> Tensor:
        """Modulus of the Gabor responses, [n, c, h, w] → [n, c · angles, h, w]."""
        responses = _filter(images, self.gabor)  # [n, c · angles · 2, h, w]: real and imaginary parts alternate
        parts = responses.reshape(len(images), -1, 2, *images.shape[2:])
        return torch.sqrt(parts.square().sum(dim=2) + 1e-8)

    def _rounds(self, images: Tensor) -> Tensor:
        """Bright and dark spots apart, [n, c, h, w] → [n, c · 4, h, w]."""
        responses = _filter(images, self.round)
        return torch.cat([responses.clamp_min(0), (-responses).clamp_min(0)], dim=1)

    def _halve(self, images: Tensor) -> Tensor:
        """Blur and keep every other pixel."""
        return _filter(images, self.blur, stride=2)


class Scattering(nn.Module):
    """[n, channels, H, W] in [0, 1] → logits [n, classes]; in training an `Output` with the centre's penalty.

    The statistics of one kind of image vary little around their mean, and a gradient that carries the mean is
    clipped for the mean's sake. So the mean is learnt too, as `centre`, by the same private steps: its penalty is
    half the squared distance to the statistics, and the head, which sees the difference only, does not move it.
    """

    def __init__(self, options: Options, *, channels: int, classes: int) -> None:
        super().__init__()
        self.wavelets = Wavelets(options, channels)
        features = self.wavelets.features
        self.pull, self.gain = options.pull, options.gain
        self.centre = nn.Parameter(torch.zeros(features))
        layers: list[nn.Module] = []
        if options.hidden:
            layers += [nn.Linear(features, options.hidden), ACTIVATIONS[options.activation]()]
        last = nn.Linear(options.hidden or features, classes)
        nn.init.zeros_(last.weight)  # no image is judged before something is learnt
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(*layers, last)

    def forward(self, images: Tensor) -> Tensor | Output:
        """[n, channels, H, W] → [n, classes]."""
        with torch.no_grad():
            statistics = self.wavelets(images)
        away = statistics - self.gain * self.centre  # [n, features]
        logits: Tensor = self.head(away.detach())
        if not self.training:
            return logits
        return Output(logits, penalty=0.5 * self.pull * away.square().sum(dim=1))


def create(options: Options, *, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """The net of `options`; weights from the current random state. `size` may be anything."""
    del size
    return Scattering(options, channels=channels, classes=classes)


def _filter(images: Tensor, kernels: Tensor, stride: int = 1) -> Tensor:
    """Each channel by each of `kernels` [k, 1, s, s], edges repeated: [n, c, h, w] → [n, c · k, h', w']."""
    count, channels, height, width = images.shape
    margin = kernels.shape[-1] // 2
    flat = images.reshape(count * channels, 1, height, width)
    made = F.conv2d(F.pad(flat, (margin,) * 4, mode="replicate"), kernels, stride=stride)
    return made.reshape(count, channels * len(kernels), *made.shape[2:])


def _statistics(maps: Tensor) -> Tensor:
    """Mean, largest and standard deviation of each map, [n, c, h, w] → [n, 3c]."""
    deviation, mean = torch.std_mean(maps, dim=(2, 3), correction=0)
    return torch.cat([mean, maps.amax(dim=(2, 3)), deviation], dim=1)


def _plane(side: int) -> tuple[Tensor, Tensor]:
    """y and x of each pixel of a side × side filter, 0 at its centre."""
    steps = torch.arange(side, dtype=torch.float32) - side // 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return y, x


def _gaussian(width: float, side: int) -> Tensor:
    y, x = _plane(side)
    bell = torch.exp(-(x * x + y * y) / (2 * width * width))
    return bell / bell.sum()


def _rounds() -> Tensor:
    """Differences of Gaussians, [2, 1, 11, 11]: a spot of about their width answers most."""
    return torch.stack([_gaussian(inner, ROUND) - _gaussian(outer, ROUND) for inner, outer in ROUND_WIDTHS])[:, None]


def _gabors(angles: int) -> Tensor:
    """Complex waves under a bell, mean zero, [angles · 2, 1, 7, 7]: real and imaginary parts alternate."""
    y, x = _plane(GABOR)
    made = []
    for index in range(angles):
        angle = math.pi * index / angles
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        bell = torch.exp(-(along**2 + (SLANT * across) ** 2) / (2 * ENVELOPE**2))
        wave = torch.cos(FREQUENCY * along)
        real = bell * (wave - (bell * wave).sum() / bell.sum())
        imaginary = bell * torch.sin(FREQUENCY * along)
        size = (real.abs().sum() + imaginary.abs().sum()) / 2
        made += [real / size, imaginary / size]
    return torch.stack(made)[:, None]
