"""From patients to tensors: who is drawn for a step, and their images with the augmented copies.

Patients are the unit of everything: a batch is a set of patients, each with at most `images_per_patient` images
drawn at random, so a patient with many images neither costs more nor counts more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from client.images import Images
from client.training.augment import augment

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """`images` float32 [n, C, H, W], `target` [n, …], `owner` int64 [n]: which of the `patients` drawn the
    image belongs to, ascending, each at least once."""

    images: Tensor
    target: Tensor
    owner: Tensor
    patients: int


def shuffled(count: int, size: int, generator: Generator) -> Iterator[Rows]:
    """Patients 0 … count−1 in batches of at most `size`, pass after pass without end, each pass in a new order."""
    while True:
        order = torch.randperm(count, generator=generator).numpy()
        yield from np.split(order, range(size, count, size))


def gather(
    images: Images,
    groups: Sequence[Rows],
    *,
    copies: int,
    augmentation: Sequence[str],
    generator: Generator,
    device: torch.device,
    images_per_patient: int = 2,
) -> Batch:
    """The batch of the patients whose rows are `groups` (each at least one row), on `device`.

    Each chosen image appears `copies` times, every time augmented anew.
    """
    chosen = [choose(rows, images_per_patient, generator) for rows in groups]
    rows = np.repeat(np.concatenate(chosen), copies)
    owner = np.repeat(np.arange(len(chosen)), [copies * len(c) for c in chosen])
    return Batch(
        images=tensors(images, rows, augmentation, generator, device),
        target=torch.from_numpy(images.target[rows]).to(device),
        owner=torch.from_numpy(owner).to(device),
        patients=len(chosen),
    )


def choose(rows: Rows, most: int, generator: Generator) -> Rows:
    """All of one patient's `rows`, or `most` of them at random."""
    if len(rows) <= most:
        return rows
    chosen: Rows = rows[torch.randperm(len(rows), generator=generator)[:most].numpy()]
    return chosen


def tensors(
    images: Images, rows: Rows, augmentation: Sequence[str], generator: Generator, device: torch.device
) -> Tensor:
    """The images `rows` in that order, each augmented on its own, float32 [len(rows), C, …] on `device`."""
    return augment(torch.from_numpy(images.tensors(rows)).to(device), augmentation, generator)
