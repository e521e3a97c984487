"""Interim."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Generator

from client.images import Images
from client.training.augment import augment
from client.training.batches import Rows
from client.training.gradients.base import Patients


def chunks(
    images: Images,
    groups: Sequence[Rows],
    *,
    at_once: int,
    images_per_patient: int,
    copies: int,
    augmentation: Sequence[str],
    generator: Generator,
    device: torch.device,
) -> Iterator[Patients]:
    """Interim."""
    chosen = [g if len(g) <= images_per_patient else g[torch.randperm(len(g), generator=generator)[:images_per_patient].numpy()] for g in groups]
    for count in sorted({len(c) for c in chosen}):
        same = [c for c in chosen if len(c) == count]
        for start in range(0, len(same), at_once):
            part = same[start : start + at_once]
            real = len(part)
            part = part + [part[0]] * (at_once - real)
            rows = np.repeat(np.concatenate(part), copies)
            pixels = augment(torch.from_numpy(images.tensors(rows)).to(device), augmentation, generator)
            yield Patients(pixels.reshape(at_once, count * copies, *pixels.shape[1:]), torch.from_numpy(images.label[rows]).to(device).reshape(at_once, -1), real)
