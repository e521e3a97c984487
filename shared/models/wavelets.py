"""Fixed wavelet statistics of an image: how strong edges and spots of each size are, here and around.

Nothing is trained and nothing is fitted to any data. A pyramid of oriented Gabor and round band-pass filters; the
strength of each response as a map; of each map the mean, the largest value, the deviation, and the means over the
middle and over a ring; of their logarithms a vector (Bruna and Mallat 2013, arXiv 1203.1513). Colour becomes
brightness and two opponent channels first. Apart from middle and ring no position survives.

Two choices for images without an up, as of skin. `turned` averages the strengths over the directions and keeps, beside
the mean, how much they differ: a third of the numbers, and a turned image has the same. `levels` adds how much of the
image is darker, redder, greener than so many levels, softly: a histogram of each channel, which no mean replaces.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Side in pixels of the Gabor filters; the bell's width along the wave, its slimness across, and the frequency.
GABOR, ENVELOPE, SLANT, FREQUENCY = 7, 1.0, 0.6, 0.6 * math.pi
#: Side in pixels of the round filters; widths of the Gaussians whose differences they are.
ROUND, ROUND_WIDTHS = 11, ((1.0, 1.6), (1.4, 2.3))
#: log(x + FLOOR): strengths below it are taken for noise.
FLOOR = 1e-2
#: Rows: brightness, red − blue, green − both.
OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, -0.5), (-0.25, 0.5, -0.25))
#: Statistics per map of strengths, and per map of what is left at the coarsest scale (its minimum too).
STATISTICS = 5
#: Lowest and highest level of a channel's histogram: brightness, red − blue, green − both.
LEVELS = ((0.15, 0.85), (-0.05, 0.30), (-0.15, 0.13))


class Wavelets(nn.Module):
    """[n, channels, H, W] in [0, 1] → [n, features]. `order` 2 also looks at how each strength varies, of `turned`
    strengths the mean over the directions; `levels` of each channel's histogram."""

    gabor: Tensor
    round: Tensor
    blur: Tensor
    opponent: Tensor

    def __init__(
        self, *, channels: int, scales: int, angles: int, order: int, turned: bool = False, levels: int = 0
    ) -> None:
        super().__init__()
        self.scales, self.angles, self.order = scales, angles, order
        self.turned, self.levels = turned, levels
        # Constants of this file, so not saved with the weights.
        self.register_buffer("gabor", _gabors(angles), persistent=False)
        self.register_buffer("round", _rounds(), persistent=False)
        self.register_buffer("blur", _gaussian(1.0, 5)[None, None], persistent=False)
        self.register_buffer("opponent", torch.tensor(OPPONENT)[:, :, None, None], persistent=False)
        bands = channels * scales * (2 * len(ROUND_WIDTHS) + (2 if turned else angles))
        if order == 2:
            bands += (2 if turned else angles * angles) * scales * (scales - 1) // 2
        self.features = STATISTICS * bands + (STATISTICS + 1) * channels + levels * channels

    def forward(self, images: Tensor) -> Tensor:
        """[n, C, H, W] → [n, features]."""
        if images.shape[1] == 3:
            images = F.conv2d(images, self.opponent)
        found = []
        colours = [_histogram(self._halve(images), self.levels)] if self.levels else []
        for scale in range(self.scales):
            strength = self._strengths(images)
            found += [_statistics(self._spots(images)), _statistics(strength)]
            strength = strength[:, : 1 if self.turned else self.angles]  # of the first channel: brightness
            for _ in range(scale + 1, self.scales if self.order == 2 else 0):
                strength = self._halve(strength)
                found.append(_statistics(self._strengths(strength)))
            images = self._halve(images)
        rest = torch.cat([_statistics(images), images.amin(dim=(2, 3))], dim=1)
        return torch.cat([torch.log(torch.cat(found, dim=1) + FLOOR), 3 * rest, *colours], dim=1)

    def _strengths(self, images: Tensor) -> Tensor:
        """Modulus of the Gabor responses, [n, c, h, w] → [n, c · angles, h, w]; `turned`, their means over the
        directions and then their deviations, [n, 2c, h, w]."""
        responses = _filter(images, self.gabor)  # [n, c · angles · 2, h, w]: real and imaginary parts alternate
        parts = responses.reshape(images.shape[0], -1, 2, *images.shape[2:])
        strengths = torch.sqrt(parts.square().sum(dim=2) + 1e-8)
        if not self.turned:
            return strengths
        directions = strengths.reshape(*images.shape[:2], self.angles, *images.shape[2:])
        mean = directions.mean(dim=2)  # [n, c, h, w]; std_mean over this dimension takes five times as long
        deviation = torch.sqrt((directions - mean[:, :, None]).square().mean(dim=2) + 1e-8)
        return torch.cat([mean, deviation], dim=1)

    def _spots(self, images: Tensor) -> Tensor:
        """Bright and dark spots apart, [n, c, h, w] → [n, c · 4, h, w]."""
        responses = _filter(images, self.round)
        return torch.cat([responses.clamp_min(0), (-responses).clamp_min(0)], dim=1)

    def _halve(self, images: Tensor) -> Tensor:
        """Blur and keep every other pixel."""
        return _filter(images, self.blur, stride=2)


def _filter(images: Tensor, kernels: Tensor, stride: int = 1) -> Tensor:
    """Each channel by each of `kernels` [k, 1, s, s], edges repeated: [n, c, h, w] → [n, c · k, h', w']."""
    count, channels, height, width = images.shape
    margin = kernels.shape[-1] // 2
    flat = images.reshape(count * channels, 1, height, width)
    made = F.conv2d(F.pad(flat, (margin,) * 4, mode="replicate"), kernels, stride=stride)
    return made.reshape(count, channels * len(kernels), *made.shape[2:])


def _statistics(maps: Tensor) -> Tensor:
    """Mean, largest, deviation, mean of the middle and of the ring, [n, c, h, w] → [n, 5c]."""
    deviation, mean = torch.std_mean(maps, dim=(2, 3), correction=0)
    zones = maps.flatten(2) @ _zones(maps.shape[2], maps.shape[3]).to(maps).flatten(1).T  # [n, c, 2]
    return torch.cat([mean, maps.amax(dim=(2, 3)), deviation, zones[..., 0], zones[..., 1]], dim=1)


def _histogram(images: Tensor, levels: int) -> Tensor:
    """Share of each channel above each level, a level's step going softly, [n, c, h, w] → [n, c · levels], times 3."""
    ranges = LEVELS if images.shape[1] == len(LEVELS) else LEVELS[:1] * images.shape[1]
    found = []
    for channel, (low, high) in enumerate(ranges):
        step = (high - low) / max(1, levels - 1)
        for level in range(levels):
            above = torch.sigmoid((images[:, channel] - (low + step * level)) / (step / 2))
            found.append(above.mean(dim=(1, 2)))
    return 3 * torch.stack(found, dim=1)


def _zones(height: int, width: int) -> Tensor:
    """Weights of the middle and of a ring around it, [2, h, w], each summing to 1; half a height is the unit."""
    y = torch.linspace(-1, 1, height)[:, None] if height > 1 else torch.zeros(1, 1)
    x = torch.linspace(-1, 1, width)[None, :] * (width / height) if width > 1 else torch.zeros(1, 1)
    radius = torch.sqrt(x * x + y * y)
    zones = torch.stack([torch.exp(-(radius**2) / 0.25), torch.exp(-((radius - 0.8) ** 2) / 0.125)])
    return zones / zones.sum(dim=(1, 2), keepdim=True)


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
