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


def balanced(present: NDArray[np.bool_], size: int, generator: Generator) -> Iterator[Rows]:
    """Patients in batches of `size` without end, with replacement, so that every label comes as often as any other:
    `present` bool [patients, labels] says who has which. Who has none comes as one who has a label that all have."""
    counts = np.maximum(1, present.sum(axis=0))
    weights = (present / counts).sum(axis=1)
    weights[~present.any(axis=1)] = 1 / max(1, len(present))
    while True:
        yield torch.multinomial(torch.from_numpy(weights), size, replacement=True, generator=generator).numpy()


def gather(
    images: Images,
    groups: Sequence[Rows],
    *,
    copies: int,
    generator: Generator,
    device: torch.device,
    images_per_patient: int = 2,
) -> Batch:
    """The batch of the patients whose rows are `groups` (each at least one row), on `device`.

    Each chosen image appears `copies` times.
    """
    chosen = [choose(rows, images_per_patient, generator) for rows in groups]
    rows = np.repeat(np.concatenate(chosen), copies)
    owner = np.repeat(np.arange(len(chosen)), [copies * len(c) for c in chosen])
    return Batch(
        images=torch.from_numpy(images.tensors(rows)).to(device),
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
