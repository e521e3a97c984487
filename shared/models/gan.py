"""A generator and a discriminator (Goodfellow et al. 2014, arXiv 1406.2661; convolutions as in DCGAN, arXiv 1511.06434)
in one module, so that one gradient step moves both.

The loss of an image x with noise z: softplus(−D(x)) + softplus(D(G(z))), in which G's weights play no part, plus
softplus(−D(G(z))), in which D's play none (the non-saturating loss, ibid. §3). Both are gone through with the very
layers; what plays no part is detached. Each image has noise of its own, so the loss is per image, and private training
bounds what one patient moves of D and of G together. GroupNorm, no batch statistics.
"""

from typing import Annotated

import msgspec
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from shared.errors import InputError
from shared.models.layers import Output, Scale, group_norm
from shared.models.synthesis import planes_of, unpacked

SLOPE = 0.2


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`latent` numbers of noise become an image by `doublings` of its sides; `width` channels beside the image, twice
    as many after each halving of the discriminator, and so backwards in the generator."""

    latent: Annotated[int, Meta(ge=1, le=1024)] = 32
    width: Annotated[int, Meta(ge=2, le=256)] = 16
    doublings: Annotated[int, Meta(ge=1, le=6)] = 2
    groups: Annotated[int, Meta(ge=1, le=64)] = 4


class Gan(nn.Module):
    """What shared/models/synthesis.py says."""

    def __init__(
        self, options: Options, *, channels: int, labels: int, size: tuple[int, ...], scale: tuple[float, float]
    ) -> None:
        super().__init__()
        self.scale, self.channels, self.latent = Scale(*scale), channels, options.latent
        self.generator = _generator(options, channels, labels, size)
        self.discriminator = _discriminator(options, channels, labels)

    def forward(self, given: Tensor) -> Tensor | Output:
        """[n, C + 2 + L, H, W] → new images [n, C, H, W]; in training with the loss of each image as the penalty."""
        image, noise, _, label = unpacked(given, self.channels)
        made = self.made(noise, label)
        if not self.training:
            return made
        return Output(made, self.judging(image, made, label) + self.forging(made, label))

    def made(self, noise: Tensor, label: Tensor) -> Tensor:
        """New images in [0, 1] of the first numbers of `noise` [n, 1, H, W]."""
        numbers = noise.flatten(1)[:, : self.latent]
        images: Tensor = self.generator(F.pad(label, (self.latent, 0)) + F.pad(numbers, (0, label.shape[1])))
        return images

    def judging(self, image: Tensor, made: Tensor, label: Tensor) -> Tensor:
        """What the discriminator loses, [n]."""
        real, forged = (self.discriminator(self._seen(x, label)).float() for x in (image, made.detach()))
        return (F.softplus(-real) + F.softplus(forged)).flatten(1).mean(dim=1)

    def forging(self, made: Tensor, label: Tensor) -> Tensor:
        """What the generator loses, [n]."""
        judged = self._seen(made, label)
        for layer in self.discriminator:
            judged = _passed(layer, judged)
        return F.softplus(-judged.float()).flatten(1).mean(dim=1)

    def _seen(self, images: Tensor, label: Tensor) -> Tensor:
        return planes_of(label, self.scale(images))


def create(
    options: Options, *, channels: int, classes: int, size: tuple[int, ...], scale: tuple[float, float]
) -> nn.Module:
    """The net of `options`; weights from the current random state. Raises InputError for another task than synthesis
    of images, for noise longer than an image, and for sides that cannot be halved as often."""
    if len(size) != 2 or channels < classes + 2:
        raise InputError("model.name", expected='task.kind "synthesis" of images with gan', got="another")
    if any(side % 2**options.doublings for side in size):
        got = " × ".join(map(str, size))
        raise InputError(
            "input.size", expected=f"multiples of {2**options.doublings}", got=got, do="Or double less often."
        )
    if options.latent > size[0] * size[1]:
        raise InputError("model.options.latent", expected=f"at most {size[0] * size[1]}", got=f"{options.latent}")
    return Gan(options, channels=classes, labels=channels - classes - 2, size=size, scale=scale)


def _generator(options: Options, channels: int, labels: int, size: tuple[int, ...]) -> nn.Sequential:
    """[n, latent + L] → [n, C, H, W]."""
    width = options.width << options.doublings
    start = tuple(side >> options.doublings for side in size)
    layers: list[nn.Module] = [
        nn.Linear(options.latent + labels, width * start[0] * start[1]),
        nn.Unflatten(1, (width, *start)),
    ]
    for _ in range(options.doublings):
        layers += [
            group_norm(width, options.groups),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),  # and a convolution: no pattern of a transposed one
            nn.Conv2d(width, width // 2, 3, padding=1),
        ]
        width //= 2
    layers += [group_norm(width, options.groups), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _discriminator(options: Options, channels: int, labels: int) -> nn.Sequential:
    """[n, C + L, H, W] → [n, 1, h, w]: each place of the coarsest grid has its say, so that its weights are few."""
    width = options.width
    layers: list[nn.Module] = [nn.Conv2d(channels + labels, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
    for _ in range(options.doublings):
        layers += [
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            group_norm(2 * width, options.groups),
            nn.LeakyReLU(SLOPE),
        ]
        width *= 2
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))


def _passed(layer: nn.Module, maps: Tensor) -> Tensor:
    """What `layer` makes of `maps`, its weights taken for constants; they are used here, not by the layer's own
    `forward`, which private training may have replaced."""
    if isinstance(layer, nn.Conv2d):
        bias = None if layer.bias is None else layer.bias.detach()
        return F.conv2d(maps, layer.weight.detach(), bias, layer.stride, layer.padding)
    if isinstance(layer, nn.GroupNorm):
        return F.group_norm(maps, layer.num_groups, layer.weight.detach(), layer.bias.detach(), layer.eps)
    found: Tensor = layer(maps)
    return found
