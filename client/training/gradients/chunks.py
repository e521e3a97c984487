"""From the patients drawn for a private step to chunks of fixed shapes that fit into memory, made one at a time.

Patients with equally many images go together, `at_once // m` of those with m images (at least one) in every chunk; the
last chunk of each kind is filled up with black images that do not count. So memory does not grow with the sample,
and a patient's gradient is computed at the same shape whoever else was drawn (`Patients`).

What is random about a patient (which images, how augmented) follows from a word of its own, and is made for that
patient alone: one patient more changes nothing of anybody else, whatever the quality of torch's generator, which keeps
32 bits of its seed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from client.images import Images
from client.training.batches import Rows, choose
from client.training.gradients.base import Patients
from shared.errors import MisuseError

#: Images and targets → what network and loss are given (client/training/given.py).
Make = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


class Drawn(NamedTuple):
    """One patient: the rows of its images in this step, copies among them, and the word it is augmented by."""

    rows: Rows
    word: int


def chunks(
    images: Images,
    groups: Sequence[Rows],
    *,
    at_once: int,
    images_per_patient: int,
    copies: int,
    given: Make,
    words: Sequence[int],
    device: torch.device,
) -> Iterator[Patients]:
    """The patients whose rows are `groups` (each at least one row): of each at most `images_per_patient` images at
    random, every one `copies` times, each time augmented anew, as the patient's one of `words` decides: below 2^63,
    from a stream that nobody can repeat. No groups, no chunks."""
    if min(at_once, images_per_patient, copies) < 1:
        numbers = f"{at_once}, {images_per_patient}, {copies}"
        raise MisuseError("chunks", expected="at_once, images_per_patient and copies of at least 1", got=numbers)
    generator = Generator()
    drawn = [
        Drawn(np.repeat(choose(rows, images_per_patient, generator.manual_seed(word)), copies), word)
        for rows, word in zip(groups, words, strict=True)
    ]
    for each in sorted({len(patient.rows) for patient in drawn}):
        alike = [patient for patient in drawn if len(patient.rows) == each]
        size = max(1, at_once // each)
        for first in range(0, len(alike), size):
            some = alike[first : first + size]
            real, target = _given(images, some, given, device)
            yield Patients(_filled(real, size), _filled(target, size), len(some))


def _filled(real: Tensor, size: int) -> Tensor:
    """[real, …] → [size, …]."""
    missing = size - len(real)
    return torch.cat([real, real.new_zeros(missing, *real.shape[1:])]) if missing else real


def _given(images: Images, drawn: Sequence[Drawn], given: Make, device: torch.device) -> tuple[Tensor, Tensor]:
    """What the network is given of the patients `drawn`, [patients, m, C, …], and their targets, [patients, m, …]."""
    rows, generator = np.concatenate([patient.rows for patient in drawn]), Generator()
    pixels = torch.unflatten(torch.from_numpy(images.tensors(rows)).to(device), 0, [len(drawn), -1])
    target = torch.unflatten(torch.from_numpy(images.target[rows]).to(device), 0, [len(drawn), -1])
    made = []
    for own, known, patient in zip(pixels, target, drawn, strict=True):
        generator.manual_seed(patient.word ^ 1)  # not the numbers that chose the images
        made.append(given(own, known, generator))
    return torch.stack([image for image, _ in made]), torch.stack([known for _, known in made])
