"""A network's weights as one flat vector, and back.

Guarantees: the order is that of the sorted names, so both ends of the wire agree whatever order a model
registers its parts in; names, shapes and finite values are checked before a weight changes.

    >>> layout = layout_of(torch.nn.Linear(2, 1))
    >>> layout.names, layout.shapes, layout.size
    (('bias', 'weight'), ((1,), (1, 2)), 3)
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import MisuseError
from shared.layout import Layout, Vector

__all__ = ["Layout", "Vector", "in_layout_order", "layout_of", "load_part", "load_vector", "to_vector"]


def layout_of(module: nn.Module) -> Layout:
    """The layout of `module`. Raises MisuseError if it keeps anything but float32 (a batch counter, say)."""
    state = module.state_dict()
    wrong = [name for name, tensor in state.items() if tensor.dtype != torch.float32]
    if wrong or not state:
        raise MisuseError("model", expected="float32 weights only", got=f"{', '.join(wrong) or 'none at all'}")
    names = tuple(sorted(state))
    frozen = frozenset(name for name, parameter in module.named_parameters() if not parameter.requires_grad)
    return Layout(names, tuple(tuple(state[name].shape) for name in names), frozen)


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


def in_layout_order(module: nn.Module, flat: NDArray[np.float64]) -> NDArray[np.float64]:
    """[d] in the order of the trainable `module.parameters()`, as gradients come, in the order of the layout's part."""
    sizes = {name: p.numel() for name, p in module.named_parameters() if p.requires_grad}
    ends = np.cumsum([0, *sizes.values()])
    pieces = {name: flat[start:end] for name, start, end in zip(sizes, ends, ends[1:], strict=False)}
    return np.concatenate([pieces[name] for name in sorted(pieces)])


def load_part(module: nn.Module, part: Vector) -> None:
    """Set the trainable parameters of `module` from float32 [layout.moving]."""
    start = 0
    with torch.no_grad():
        for _, parameter in sorted((n, p) for n, p in module.named_parameters() if p.requires_grad):
            piece = part[start : start + parameter.numel()]
            parameter.copy_(torch.from_numpy(piece).reshape(parameter.shape))
            start += parameter.numel()
