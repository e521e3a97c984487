"""Pictures of nothing: soft overlapping spots and grain, drawn from a published constant, the same on every machine.

They stand in for "images in general" where a model needs to know how its fixed features vary together, without
a look at any hospital's data (dead-leaves model: Lee, Mumford and Huang 2001).
"""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

LABEL = b"konsil/reference/v1"
SPOTS = 24


def reference_images(count: int, channels: int, size: tuple[int, int]) -> Tensor:
    """float32 [count, channels, rows, columns] in [0, 1]."""
    height, width = size
    per_image = 2 + SPOTS * (8 + channels) + channels * (2 + height * width)
    numbers = iter(_uniforms(count * per_image).reshape(per_image, count))

    def draw(*shape: int) -> Tensor:
        """Uniform in [0, 1): [count, 1, 1] or, for each of `shape[0]` channels, [count, channels, 1, 1]."""
        made = [next(numbers) for _ in range(math.prod(shape))]
        return torch.stack(made, dim=1).reshape(count, *(shape or (1,)), 1, 1)

    y = torch.linspace(0, 1, height)[:, None]
    x = torch.linspace(0, width / height, width)[None, :]
    images = draw().expand(count, channels, height, width).clone()
    for _ in range(SPOTS):
        cover = _spot(x - draw() * width / height, y - draw(), [draw() for _ in range(4)])
        value = draw() + 0.6 * (draw(channels) - 0.5)
        images = torch.lerp(images, value.expand_as(images), (cover * draw()).expand_as(images))
    for channel in range(channels):
        slope, strength = 0.5 + draw()[:, 0], 0.06 * draw()[:, 0]
        white = torch.stack([next(numbers) for _ in range(height * width)], dim=1).reshape(count, height, width)
        grain = _colour(white, slope)
        images[:, channel] += strength * grain / grain.std(dim=(1, 2), keepdim=True)
    contrast = torch.exp(1.4 * (draw() - 0.5))
    return ((images - 0.5) * contrast + 0.5).clamp(0, 1)


def _spot(x: Tensor, y: Tensor, shape: list[Tensor]) -> Tensor:
    """1 inside, 0 outside a turned ellipse about the origin with a soft rim, [count, 1, rows, columns]."""
    size, stretch, turn, softness = shape
    radius, stretch = 0.03 * (0.4 / 0.03) ** size, torch.exp(1.6 * (stretch - 0.5))
    cos, sin = torch.cos(math.pi * turn), torch.sin(math.pi * turn)
    along, across = (x * cos + y * sin) / (radius * stretch), (y * cos - x * sin) / (radius / stretch)
    return torch.sigmoid((1 - torch.sqrt(along**2 + across**2)) / (0.03 + 0.4 * softness))


def _colour(white: Tensor, slope: Tensor) -> Tensor:
    """White noise [count, rows, columns] with its amplitudes divided by frequency to the power `slope`."""
    height, width = white.shape[1:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    coloured: Tensor = torch.fft.irfft2(torch.fft.rfft2(white - 0.5) / frequency**slope, s=(height, width))
    return coloured


def _uniforms(count: int) -> Tensor:
    """float32 [count] in [0, 1) from SHAKE-256 of `LABEL`."""
    words = np.frombuffer(hashlib.shake_256(LABEL).digest(4 * count), dtype="<u4")
    return torch.from_numpy((words >> 8).astype(np.float32) * np.float32(2.0**-24))
