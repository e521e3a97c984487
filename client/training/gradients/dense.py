"""The gradient of a dense layer's weights, for each patient apart, from its inputs and its outputs' gradients."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from client.training.gradients.clip import Products, bounded, gram


@dataclass(frozen=True)
class Dense:
    """Inputs are [n, …, in], outputs [n, …, out]; every place between is one t."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[n, …, in] → [n, …, out]."""
        return F.linear(inputs, weight, bias)

    def input_gradient(self, gradient: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG002
        """[n, …, in]."""
        return gradient @ weight

    def weight_gradients(self, gradient: Tensor, inputs: Tensor, weight: Tensor, patients: int) -> Tensor:  # noqa: ARG002
        """[p, out, in]."""
        return torch.bmm(_places(gradient, patients).mT, _places(inputs, patients))

    def bias_gradients(self, gradient: Tensor, patients: int) -> Tensor:
        """[p, out]."""
        return _places(gradient, patients).sum(dim=1)

    def products(self, gradient: Tensor, inputs: Tensor, patients: int) -> Products:
        """The weights' gradients as products."""

        def factors() -> tuple[Tensor, Tensor]:
            seen, wanted = (_places(v, patients).to(torch.float64, copy=True) for v in (inputs, gradient))
            return seen, wanted

        seen, wanted = factors()
        return Products(bounded(gram(seen), gram(wanted)), factors)


def _places(values: Tensor, patients: int) -> Tensor:
    """[n, …, k] → [p, t, k]."""
    return values.reshape(patients, -1, values.shape[-1])
