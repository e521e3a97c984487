"""Random changes to images that leave their label true, by the names a study may ask for.

Images are float32 [n, C, H, W] in [0, 1] and stay so; volumes, [n, C, D, H, W], know flip, contrast and noise only.
The generator decides everything: same seed, same images.
Which changes are made depends on the set of names, not on their order.
"""

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

NAMES = frozenset({"flip", "quarter", "rotate", "shift", "scale", "contrast", "noise"})

ANGLE_DEG = 12.0
SHIFT = 0.08  # of the side, each way
SCALE = 1.15
CONTRAST = 1.25
NOISE = 0.03  # largest standard deviation, of the full range


def augment(images: Tensor, names: Collection[str], generator: Generator) -> Tensor:
    """One random version of each image, same shape. `generator` lives on the CPU, `images` anywhere."""
    if "flip" in names:
        images = _where(_coin(len(images), generator), images.flip(-1), images)
    if "quarter" in names:
        images = _quarter(images, generator)
    if {"rotate", "shift", "scale"} & set(names):
        images = _affine(images, names, generator)
    if "contrast" in names:
        factor = CONTRAST ** _uniform(len(images), generator, images)
        mean = images.mean(dim=tuple(range(1, images.dim())), keepdim=True)
        images = mean + (images - mean) * _each(factor, images)
    if "noise" in names:
        strength = NOISE * _uniform(len(images), generator, images).abs()
        grain = torch.randn(images.shape, generator=generator).to(images)
        images = images + grain * _each(strength, images)
    return images.clamp(0, 1) if names else images


def _coin(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _uniform(count: int, generator: Generator, like: Tensor) -> Tensor:
    """[count] uniform in [-1, 1)."""
    return (2 * torch.rand(count, generator=generator) - 1).to(like)


def _each(values: Tensor, images: Tensor) -> Tensor:
    """[n] → [n, 1, …], to meet every value of an image."""
    return values.reshape(-1, *(1 for _ in images.shape[1:]))


def _where(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(_each(chosen.to(images.device), images), changed, images)


def _quarter(images: Tensor, generator: Generator) -> Tensor:
    """One of the eight symmetries of the square, or of the four of a rectangle: for images without an up."""
    images = _where(_coin(len(images), generator), images.flip(2), images)
    images = _where(_coin(len(images), generator), images.flip(3), images)
    if images.shape[2] == images.shape[3]:
        images = _where(_coin(len(images), generator), images.transpose(2, 3), images)
    return images


def _affine(images: Tensor, names: Collection[str], generator: Generator) -> Tensor:
    """Rotation, shift and scale in one resampling; outside the image its edge goes on."""
    count, _, height, width = images.shape
    angle, down, right, size = (_uniform(count, generator, images) for _ in range(4))
    angle = angle * math.radians(ANGLE_DEG) if "rotate" in names else angle * 0
    shift = SHIFT if "shift" in names else 0.0
    factor = SCALE**size if "scale" in names else torch.ones_like(size)
    # affine_grid maps output to input in units of half a side, so the axes mix by the ratio of the sides.
    ratio = height / width
    rows = [
        torch.stack([factor * angle.cos(), -factor * angle.sin() * ratio, 2 * shift * right], dim=1),
        torch.stack([factor * angle.sin() / ratio, factor * angle.cos(), 2 * shift * down], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)  # [n, H, W, 2]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
