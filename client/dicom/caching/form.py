"""What the rows of one file hold: arrays of one shape and kind of number, made in one way.

>>> form_of(study.input).row_bytes  # of one canonical tensor
12288
"""

from dataclasses import dataclass

import numpy as np

from shared.study import Input, spec_hash


@dataclass(frozen=True)
class Form:
    """`shape` and `dtype` of one row; `name`: 32 bytes that differ whenever the same item would become another row."""

    name: bytes
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape))


def form_of(spec: Input) -> Form:
    """Of the canonical tensor."""
    return Form(spec_hash(spec), spec.shape)
