"""Random choices of an evaluation that are each image's own: the same in every evaluation, whoever else is there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def own_generator(image: Tensor, label: bytes) -> Generator:
    """A generator seeded by the values of one float32 `image` and by `label`, which says what for."""
    import torch  # noqa: PLC0415  base.py says why

    data = image.detach().cpu().contiguous().numpy().tobytes()
    seed = int.from_bytes(hashlib.blake2b(data, digest_size=8, key=label).digest(), "big")
    return torch.Generator().manual_seed(seed >> 1)
