"""What a model that makes new images is given, as the channels of one tensor: so that all that is random about an image
is drawn before, and no image depends on another.

[n, C + 2 + L, H, W]: the image · one of noise · one of a time in [0, 1), everywhere the same · one for each of L
labels, 1 everywhere or 0. In training a model returns its whole loss as the `penalty` of an Output; in evaluation it
looks at noise and labels alone, and returns new images [n, C, H, W].
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn


class Given(NamedTuple):
    """The parts: `image` [n, C, H, W], `noise` [n, 1, H, W], `time` [n], `label` [n, L]."""

    image: Tensor
    noise: Tensor
    time: Tensor
    label: Tensor


def packed(images: Tensor, label: Tensor, generator: Generator) -> Tensor:
    """Images [n, C, H, W] and labels [n, L] with noise and times drawn, [n, C + 2 + L, H, W]."""
    count, _, *size = images.shape
    noise = torch.randn(count, 1, *size, generator=generator).to(images)
    time = torch.rand(count, 1, generator=generator).to(images)
    planes = torch.cat([time, label.to(images)], dim=1)[:, :, None, None].expand(-1, -1, *size)
    return torch.cat([images, noise, planes], dim=1)


def unpacked(given: Tensor, channels: int) -> Given:
    """The inverse; `channels` of the image."""
    planes = given[:, channels + 1 :, 0, 0]
    return Given(given[:, :channels], given[:, channels : channels + 1], planes[:, 0], planes[:, 1:])


def planes_of(label: Tensor, maps: Tensor) -> Tensor:
    """Labels [n, L] as planes beside `maps` [n, C, h, w], [n, C + L, h, w]."""
    planes = label[:, :, None, None].expand(-1, -1, *maps.shape[2:])
    return torch.cat([maps, planes], dim=1)


@torch.no_grad()
def drawn(module: nn.Module, labels: Tensor, shape: tuple[int, ...], seed: int, first: int = 0) -> Tensor:
    """New images [n, C, H, W] in [0, 1] of `shape` (C, H, W), of the labels [n, L]. Image k of a `seed` is the same
    whatever else is drawn; `first` is the number of the first one. Leaves `module` in its mode."""
    device, black, training = next(module.parameters()).device, torch.zeros(1, *shape), module.training
    given = []
    for number, label in enumerate(labels, start=first):
        word = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
        given.append(packed(black, label[None], Generator().manual_seed(word >> 1)))
    made: Tensor = module.eval()(torch.cat(given).to(device))
    module.train(training)
    return torch.nan_to_num(made.float()).clamp(0, 1).cpu()
