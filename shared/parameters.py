"""A model's weights as one flat vector, and as safetensors bytes.

Guarantees: the order is that of the sorted names, so both ends of the wire agree whatever order a model
registers its parts in; names, shapes and finite values are checked before a weight changes; no pickle.

    >>> layout = layout_of(torch.nn.Linear(2, 1))
    >>> layout.names, layout.shapes, layout.size
    (('bias', 'weight'), ((1,), (1, 2)), 3)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import nn

from shared.errors import InputError, MisuseError

Vector = NDArray[np.float32]

__all__ = ["Layout", "Vector", "layout_of", "load_vector", "load_weights", "save_weights", "to_vector"]


@dataclass(frozen=True)
class Layout:
    """Where each tensor lies in the vector: `names` sorted, `shapes` beside them."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(map(prod, self.shapes))

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


def layout_of(module: nn.Module) -> Layout:
    """The layout of `module`. Raises MisuseError if it keeps anything but float32 (a batch counter, say)."""
    state = module.state_dict()
    wrong = [name for name, tensor in state.items() if tensor.dtype != torch.float32]
    if wrong or not state:
        raise MisuseError("model", expected="float32 weights only", got=f"{', '.join(wrong) or 'none at all'}")
    names = tuple(sorted(state))
    return Layout(names, tuple(tuple(state[name].shape) for name in names))


def to_vector(module: nn.Module) -> Vector:
    """All weights of `module`, float32 [layout_of(module).size], a copy."""
    state = module.state_dict()
    return layout_of(module).join({name: tensor.cpu().numpy() for name, tensor in state.items()})


def load_vector(module: nn.Module, vector: Vector) -> None:
    """Set the weights of `module` from float32 [size]. Raises MisuseError, and sets nothing, unless it fits."""
    pieces = layout_of(module).split(vector)
    if not np.isfinite(vector).all():
        raise MisuseError("weights", expected="finite numbers", got="NaN or infinity")
    module.load_state_dict({name: torch.tensor(piece) for name, piece in pieces.items()})


def save_weights(layout: Layout, vector: Vector, metadata: Mapping[str, str] | None = None) -> bytes:
    """`vector` as safetensors bytes with each tensor under its name; `metadata` is plain text inside."""
    pieces = layout.split(np.ascontiguousarray(vector))
    return save(pieces, metadata=dict(metadata or {}))


def load_weights(layout: Layout, data: bytes, source: str = "weights") -> Vector:
    """The vector that `save_weights` wrote. Raises InputError naming `source` for torn bytes, another model's
    weights, or numbers that are not finite."""
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            source, expected="whole safetensors bytes", got=str(error), do="Copy the file again."
        ) from None
    if problem := _difference(layout, tensors):
        raise InputError(
            source, expected="the weights of this model", got=problem, do="Name the model they were saved from."
        )
    vector = layout.join(tensors)
    if not np.isfinite(vector).all():
        raise InputError(source, expected="finite numbers", got="NaN or infinity", do="Use an earlier checkpoint.")
    return vector


def _difference(layout: Layout, tensors: Mapping[str, Vector]) -> str:
    """What tells `tensors` from `layout`; empty if nothing does."""
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        if name not in tensors:
            return f"no '{name}'"
        if tensors[name].shape != shape or tensors[name].dtype != np.float32:
            return f"'{name}' as {tensors[name].dtype} {list(tensors[name].shape)}, not float32 {list(shape)}"
    extra = sorted(set(tensors) - set(layout.names))
    return f"'{extra[0]}' besides" if extra else ""
