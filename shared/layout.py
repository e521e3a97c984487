"""Where each tensor of a model lies in the flat vector of its weights. No torch: the coordinator needs no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from shared.errors import MisuseError
from shared.study import Study
from shared.wire import pack, unpack
from shared.workers import aside

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Where each tensor lies in the vector: `names` sorted, `shapes` beside them; those of `frozen` are never moved.

    The part of it that moves goes down and up; the rest is made on both sides (shared/start.py).
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    frozen: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(map(prod, self.shapes))

    @property
    def moving(self) -> int:
        """Length of its part that moves."""
        return sum(prod(shape) for name, shape in zip(self.names, self.shapes, strict=True) if name not in self.frozen)

    def part(self, vector: Vector) -> Vector:
        """The part of `vector` that moves, float32 [moving]; `vector` itself where all does."""
        if not self.frozen:
            return vector
        return np.concatenate([t.reshape(-1) for name, t in self.split(vector).items() if name not in self.frozen])

    def with_part(self, vector: Vector, part: Vector) -> Vector:
        """`vector` with `part` [moving] in the place of what moves; `part` itself where all does."""
        if not self.frozen:
            return part
        result, start = vector.copy(), 0
        for name, tensor in self.split(result).items():
            if name not in self.frozen:
                tensor[...] = part[start : start + tensor.size].reshape(tensor.shape)
                start += tensor.size
        return result

    def split(self, vector: Vector) -> dict[str, Vector]:
        """Views of `vector` by name, in their shapes."""
        self.check(vector)
        ends = np.cumsum([0, *map(prod, self.shapes)])
        pieces = (vector[start:end] for start, end in pairwise(ends))
        return {name: p.reshape(s) for name, s, p in zip(self.names, self.shapes, pieces, strict=True)}

    def join(self, tensors: Mapping[str, Vector]) -> Vector:
        """The inverse of `split`, a copy."""
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != dict(zip(self.names, self.shapes, strict=True)):
            raise MisuseError("weights", expected="the names and shapes of the layout", got=f"{len(found)} others")
        return np.concatenate([tensors[name].reshape(-1) for name in self.names])

    def check(self, vector: Vector) -> None:
        """Raise MisuseError unless `vector` is float32 [size]."""
        if vector.dtype != np.float32 or vector.shape != (self.size,):
            raise MisuseError("weights", expected=f"float32 [{self.size}]", got=f"{vector.dtype} {list(vector.shape)}")


def begin(study: Study) -> tuple[Layout, Vector]:
    """The layout of the study's weights, and the weights it begins with. Raises InputError for an unknown model."""
    layout, weights = aside("shared.network", "initial", study)
    return layout, weights


def layout_for(study: Study) -> Layout:
    """The layout alone."""
    return _layouts(pack(study))


@lru_cache(maxsize=8)
def _layouts(study: bytes) -> Layout:
    return begin(unpack(Study, study))[0]
