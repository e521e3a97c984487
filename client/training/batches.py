"""From patients to tensors: who is drawn for a step, and their images with the augmented copies.

Patients are the unit of everything: a batch is a set of patients, each with at most `IMAGES_PER_PATIENT` images
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

#: Images of one patient that one step looks at.
IMAGES_PER_PATIENT = 2


@dataclass(frozen=True)
class Batch:
    """`images` float32 [n, C, H, W], `label` int64 [n], `owner` int64 [n]: which of the `patients` drawn the
    image belongs to, ascending, each at least once."""

    images: Tensor
    label: Tensor
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
) -> Batch:
    """The batch of the patients whose rows are `groups` (each at least one row), on `device`.

    Each chosen image appears `copies` times, every time augmented anew.
    """
    chosen = [_choose(rows, generator) for rows in groups]
    rows = np.repeat(np.concatenate(chosen), copies)
    owner = np.repeat(np.arange(len(chosen)), [copies * len(c) for c in chosen])
    pixels = torch.from_numpy(images.tensors(rows)).to(device)
    return Batch(
        images=augment(pixels, augmentation, generator),
        label=torch.from_numpy(images.label[rows]).to(device),
        owner=torch.from_numpy(owner).to(device),
        patients=len(chosen),
    )


def _choose(rows: Rows, generator: Generator) -> Rows:
    if len(rows) <= IMAGES_PER_PATIENT:
        return rows
    chosen: Rows = rows[torch.randperm(len(rows), generator=generator)[:IMAGES_PER_PATIENT].numpy()]
    return chosen
