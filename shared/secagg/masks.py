"""Adding masks to a vector: y ± PRG(seed) ± ... (mod 2^32) (PROTOCOL.md, step 1 and 4).

Guarantees: all masks are added in one pass over the vector, in place, wrapping; the extra memory is one
chunk of key stream, whatever the length and however many the seeds. `add_masks` twice with opposite signs
gives the vector back bit for bit.

    >>> vector = np.arange(3, dtype=np.uint32)
    >>> add_masks(vector, [(bytes(32), +1)])
    >>> add_masks(vector, [(bytes(32), -1)])
    >>> vector.tolist()
    [0, 1, 2]
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import MisuseError
from shared.secagg.keystream import CHUNK, KeyStream

MASK_LABEL = "konsil/mask/v1"

Sign = Literal[1, -1]


def check_vector(vector: NDArray[np.uint32], length: int) -> None:
    """Raise MisuseError unless `vector` is uint32 [length], contiguous and writable."""
    if vector.dtype != np.dtype("<u4") or vector.shape != (length,):
        raise MisuseError("vector", expected=f"uint32 [{length}]", got=f"{vector.dtype} {list(vector.shape)}")
    if not (vector.flags.c_contiguous and vector.flags.writeable):
        raise MisuseError("vector", expected="contiguous and writable", got="a view that is not")


def add_masks(vector: NDArray[np.uint32], masks: Sequence[tuple[bytes, Sign]]) -> None:
    """Add sign × PRG(seed) to `vector` in place for every (seed of 32 bytes, sign) of `masks`."""
    check_vector(vector, vector.size)
    streams = [(KeyStream(seed, MASK_LABEL), np.add if sign > 0 else np.subtract) for seed, sign in masks]
    words = np.empty(min(CHUNK, vector.size), np.uint32)
    for start in range(0, vector.size, CHUNK):
        piece = vector[start : start + CHUNK]
        mask = words[: piece.size]
        for stream, apply in streams:
            stream.fill(mask)
            apply(piece, mask, out=piece)
