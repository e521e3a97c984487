"""A model's weights as safetensors bytes: names and shapes checked, no pickle, no torch."""

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from shared.errors import InputError
from shared.layout import Layout, Vector


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
