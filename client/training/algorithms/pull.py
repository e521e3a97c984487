"""What an algorithm adds to the loss of a hospital's steps: μ ÷ 2 |w − anchor|² + ⟨linear, w⟩, by its gradient.

FedProx and Ditto are the first term, SCAFFOLD the second, FedDyn both. It depends on weights alone, never on images:
added to a private step's noisy gradient it costs no patient anything.

    >>> Pull(0.5, anchor=np.float32([1.0]), linear=np.float32([2.0])).at(np.float32([3.0])).tolist()
    [3.0]
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.parameters import layout_of

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Pull:
    """`anchor` and `linear` float32 [d], in the order of the layout's part; None for no such term."""

    mu: float = 0.0
    anchor: Vector | None = None
    linear: Vector | None = None

    def at(self, weights: Vector) -> Vector:
        """Its gradient at `weights` [d]."""
        found = np.zeros_like(weights) if self.linear is None else self.linear.copy()
        if self.anchor is not None:
            found += np.float32(self.mu) * (weights - self.anchor)
        return found

    def onto(self, module: nn.Module) -> Callable[[], None]:
        """What adds its gradient to those of `module`'s trained parameters, where they are now."""
        anchors = self._pieces(module, self.anchor)
        linears = self._pieces(module, self.linear)
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}

        @torch.no_grad()
        def add() -> None:
            for name in {**anchors, **linears}:
                parameter = parameters[name]
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                if name in anchors:
                    parameter.grad.add_(parameter - anchors[name], alpha=self.mu)
                if name in linears:
                    parameter.grad.add_(linears[name])

        return add

    @staticmethod
    def _pieces(module: nn.Module, vector: Vector | None) -> dict[str, torch.Tensor]:
        """`vector` by name, on the module's device."""
        if vector is None:
            return {}
        layout, found, start = layout_of(module), {}, 0
        device = next(module.parameters()).device
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            if name not in layout.frozen:  # a layout lists nothing but parameters: buffers hold batch statistics
                piece = vector[start : start + prod(shape)].reshape(shape)
                found[name] = torch.from_numpy(piece.copy()).to(device)
                start += prod(shape)
        return found
