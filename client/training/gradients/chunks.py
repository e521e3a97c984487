"""From the patients drawn for a private step to chunks of fixed shapes that fit into memory, made one at a time.

Patients with equally many images go together, `at_once // m` of those with m images (at least one) in every chunk; the
last chunk of each kind is filled up with black images that do not count. So memory does not grow with the sample,
and a patient's gradient is computed at the same shape whoever else was drawn (`Patients`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Generator

from client.images import Images
from client.training.batches import Rows, choose, tensors
from client.training.gradients.base import Patients
from shared.errors import MisuseError


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
    """The patients whose rows are `groups` (each at least one row): of each at most `images_per_patient` images at
    random, every one `copies` times, each time augmented anew. No groups, no chunks."""
    if min(at_once, images_per_patient, copies) < 1:
        given = f"{at_once}, {images_per_patient}, {copies}"
        raise MisuseError("chunks", expected="at_once, images_per_patient and copies of at least 1", got=given)
    chosen = [np.repeat(choose(rows, images_per_patient, generator), copies) for rows in groups]
    for each in sorted({len(rows) for rows in chosen}):
        alike = [rows for rows in chosen if len(rows) == each]
        size = max(1, at_once // each)
        for first in range(0, len(alike), size):
            rows = np.stack(alike[first : first + size])  # [real, m]
            real = torch.unflatten(tensors(images, rows.ravel(), augmentation, generator, device), 0, rows.shape)
            label = torch.from_numpy(images.label[rows]).to(device)
            missing = size - len(rows)
            yield Patients(
                images=torch.cat([real, real.new_zeros(missing, *real.shape[1:])]) if missing else real,
                label=torch.cat([label, label.new_zeros(missing, each)]) if missing else label,
                real=len(rows),
            )
