"""Fixed wavelets, then a small trained head: for private training on few patients.

What a private model can learn is limited by the noise, whose length grows with the square root of the number of
trained weights, and by clipping, which spends most of a gradient on whatever varies most. So here the filters are
not trained (Tramèr and Boneh 2021, arXiv 2011.11660); their statistics are decorrelated by how they vary over
drawn pictures of nothing (shared/models/reference.py), never over a hospital's images; and their mean may be learnt
apart (`Scattering`). Only the head on top, and that mean, are weights.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.layers import ACTIVATIONS, CENTRE, SPREAD, Activation, Output
from shared.models.reference import reference_images
from shared.models.wavelets import Wavelets

#: Pictures the decorrelation is taken from; added to their variances; length of the result for a strange image.
REFERENCES, RIDGE, LENGTH = 768, 1e-3, 3.0
#: Added to the deviation of a statistic over all images.
LEAST_DEVIATION = 1e-3


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scales` octaves of filters in `angles` directions; `order` 2 also looks at how each strength varies (for
    texture; slower); `turned` = 1 averages over the directions and `levels` adds histograms of so many levels (both
    shared/models/wavelets.py); `hidden` units between the statistics and the logits, 0 for a linear head. `centre` = 0
    leaves the mean of the statistics alone: half the weights, half the noise. `pull` is the weight of the centre's
    penalty, `gain` how far one step moves it. `standardise` = 1 shifts and scales every statistic by its mean and
    deviation over all hospitals' training images: better on real images, never with privacy (`observe`)."""

    scales: Annotated[int, Meta(ge=1, le=6)] = 3
    angles: Annotated[int, Meta(ge=2, le=16)] = 6
    order: Literal[1, 2] = 1
    turned: Literal[0, 1] = 0
    levels: Annotated[int, Meta(ge=0, le=32)] = 0
    hidden: Annotated[int, Meta(ge=0, le=1024)] = 0
    activation: Activation = "tanh"
    centre: Literal[0, 1] = 1
    pull: Annotated[float, Meta(ge=0, le=100)] = 0.25
    gain: Annotated[float, Meta(gt=0, le=100)] = 2.0
    standardise: Literal[0, 1] = 0


class Scattering(nn.Module):
    """[n, channels, H, W] in [0, 1] → logits [n, classes]; in training, if the centre is learnt, an `Output` with its
    penalty.

    The statistics of one kind of image vary little around their mean, and a gradient that carries the mean is
    clipped for the mean's sake. So the mean is learnt too, as `centre`, by the same private steps: its penalty is
    half the squared distance to the statistics, and the head, which sees the difference only, does not move it. Where
    the statistics are few (`turned`) the clip has room for the mean, and the centre costs more noise than it saves.
    """

    offset: Tensor
    decorrelate: Tensor

    def __init__(self, options: Options, *, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        bank = _Bank(channels, options.scales, options.angles, options.order, bool(options.turned), options.levels)
        self.wavelets = bank.wavelets()
        features = self.wavelets.features
        offset, decorrelate = _decorrelation(bank, size)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("decorrelate", decorrelate, persistent=False)
        self.pull, self.gain = options.pull, options.gain
        self.centre = nn.Parameter(torch.zeros(features)) if options.centre else None
        #: mean of each statistic and of its square, [2, features]; 0 before anybody has looked
        self.moments = nn.Parameter(torch.zeros(2, features)) if options.standardise else None
        layers: list[nn.Module] = []
        if options.hidden:
            layers += [nn.Linear(features, options.hidden), ACTIVATIONS[options.activation]()]
        last = nn.Linear(options.hidden or features, classes)
        nn.init.zeros_(last.weight)  # no image is judged before something is learnt
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(*layers, last)

    def forward(self, images: Tensor) -> Tensor | Output:
        """[n, channels, H, W] → [n, classes]."""
        return self.learned(self.fixed(images))

    def fixed(self, images: Tensor) -> Tensor:
        """The statistics, decorrelated, [n, channels, H, W] → [n, features]: no weight enters (client/training)."""
        with torch.no_grad():
            statistics: Tensor = (self.wavelets(images) - self.offset) @ self.decorrelate
        return statistics

    def learned(self, statistics: Tensor) -> Tensor | Output:
        """What the weights make of the statistics, [n, features] → [n, classes]."""
        statistics = self._standard(statistics)
        if self.centre is None:
            plain: Tensor = self.head(statistics)
            return plain
        away = statistics - self.gain * self.centre
        logits: Tensor = self.head(away.detach())
        if not self.training:
            return logits
        return Output(logits, penalty=0.5 * self.pull * away.square().sum(dim=1))

    @property
    def observes(self) -> bool:
        """Whether `observe` does anything."""
        return self.moments is not None

    def observe(self, statistics: Tensor) -> None:
        """Set the moments to those of `statistics` [n, features], one hospital's. The mean over hospitals, each
        weighing as its images, which is what a round makes of them, is that of all images: no round is spent on it."""
        if self.moments is not None:
            self.moments.data.copy_(torch.stack([statistics.mean(dim=0), statistics.square().mean(dim=0)]))

    def _standard(self, statistics: Tensor) -> Tensor:
        """[n, features] with mean 0 and deviation 1, if that is asked for and known."""
        if self.moments is None or not bool(self.moments.any()):
            return statistics
        mean, square = self.moments.detach()
        deviation: Tensor = (square - mean.square()).clamp_min(0).sqrt()
        standard: Tensor = (statistics - mean) / (deviation + LEAST_DEVIATION)
        return standard


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for volumes, and for a scale: its
    statistics are scaled by those of drawn pictures."""
    if len(size) != 2:
        raise InputError("model.name", expected="cnn or densenet121 for volumes", got="scattering")
    if scale != (CENTRE, SPREAD):
        raise InputError("model.scale", expected=f"[{CENTRE}, {SPREAD}] with scattering", got=str(list(scale)))
    return Scattering(options, channels=channels, classes=classes, size=(size[0], size[1]))


@dataclass(frozen=True)
class _Bank:
    """Which statistics are taken: all that the decorrelation depends on, beside the size."""

    channels: int
    scales: int
    angles: int
    order: int
    turned: bool
    levels: int

    def wavelets(self) -> Wavelets:
        """They, as a module."""
        return Wavelets(
            channels=self.channels,
            scales=self.scales,
            angles=self.angles,
            order=self.order,
            turned=self.turned,
            levels=self.levels,
        )


@lru_cache(maxsize=8)
def _decorrelation(bank: _Bank, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean [features] and symmetric inverse root of the covariance [features, features] over the references."""
    wavelets = bank.wavelets()
    with torch.no_grad():
        images = reference_images(REFERENCES, bank.channels, size)
        found = torch.cat([wavelets(part) for part in torch.split(images, 64)]).double()
    mean = found.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov(found.T))
    root = (axes * torch.rsqrt(variances.clamp_min(0) + RIDGE)) @ axes.T
    return mean.float(), (root * LENGTH / len(mean) ** 0.5).float()
