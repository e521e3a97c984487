"""Weights of their own for every patient of a batch, all in the same memory, and the layers that know how to use them.

Each kind of layer says whether it `fits` and gives the function that takes its `forward`'s place for one pass.
Gradients with respect to the patients' weights, [p, *shape], are those of autograd, or products that `Own` keeps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from client.training.gradients.clip import Products
from client.training.gradients.convolution import Convolution, Geometry, known
from client.training.gradients.dense import Dense
from shared.models.layers import StandardisedConv2d, StandardisedConv3d, standardised

Forward = Callable[[Tensor], Tensor]
#: Layers with a `Map`.
Linear = nn.Linear | Convolution

#: What writing, reading and adding up one number of a gradient costs, in multiplications (measured on a CPU).
NUMBER = 64


class Map(Protocol):
    """What dense layers and convolutions have in common: outputs are linear in the weight, as in the inputs."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...  # noqa: D102
    def input_gradient(self, gradient: Tensor, inputs: Tensor, weight: Tensor) -> Tensor: ...  # noqa: D102
    def weight_gradients(self, gradient: Tensor, inputs: Tensor, weight: Tensor, patients: int) -> Tensor: ...  # noqa: D102
    def bias_gradients(self, gradient: Tensor, patients: int) -> Tensor: ...  # noqa: D102
    def products(self, gradient: Tensor, inputs: Tensor, patients: int) -> Products | None: ...  # noqa: D102


@dataclass
class Own:
    """The `patients`' weights in one pass."""

    patients: int
    leaves: dict[Tensor, Tensor] = field(default_factory=dict)
    products: list[tuple[Tensor, Products]] = field(default_factory=list)
    _uses: dict[Tensor, int] = field(default_factory=dict)
    _finish: dict[Tensor, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def of(self, weight: Tensor, value: Tensor | None = None) -> Tensor:
        """[p, *shape]: `value`, or the weight itself, for every patient."""
        if weight not in self.leaves:
            leaf = (weight if value is None else value).detach().expand(self.patients, *weight.shape)
            self.leaves[weight] = leaf.requires_grad_(weight.requires_grad)
        self._uses[weight] = self._uses.get(weight, 0) + 1
        return self.leaves[weight]

    def after(self, weight: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        """What makes of one patient's gradient by a value the gradient by the weight."""
        self._finish[weight] = change

    def finish(self, weight: Tensor, gradients: Tensor) -> Tensor:
        """[p, *shape] by the values → by the weights."""
        return torch.func.vmap(self._finish[weight])(gradients) if weight in self._finish else gradients

    def keeps(self, weight: Tensor, places: int) -> bool:
        """Whether a gradient seen at so many places per patient costs less as a product: two Gram matrices and the sum
        in float64 against the numbers themselves, made and read again."""
        out, seen = len(weight), weight[0].numel()
        once = self._uses[weight] == 1 and weight not in self._finish
        return once and 2 * places**2 * (out + seen) + places * out * seen < NUMBER * out * seen


class _Apply(torch.autograd.Function):
    """A `Map` with shared weights forward and the patients' own backward."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, own_weight: Tensor, own_bias: Tensor | None, call: "_Call") -> Tensor:
        """One batch."""
        ctx.call = call
        weight, bias = own_weight[0].to(inputs.dtype), None if own_bias is None else own_bias[0].to(inputs.dtype)
        ctx.save_for_backward(inputs, weight)
        return call.map.forward(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of inputs in one batch, of weights by patient."""
        call: _Call = ctx.call
        inputs, weight = ctx.saved_tensors
        need_inputs, need_weight, need_bias, _ = ctx.needs_input_grad
        return (
            call.map.input_gradient(gradient, inputs, weight) if need_inputs else None,
            call.weight_gradients(gradient, inputs, weight) if need_weight else None,
            call.map.bias_gradients(gradient, call.own.patients) if need_bias else None,
            None,
        )


@dataclass(frozen=True)
class _Call:
    map: Map
    weight: Tensor
    own: Own

    def weight_gradients(self, gradient: Tensor, inputs: Tensor, weight: Tensor) -> Tensor | None:
        """[p, *shape], or None where a product is kept."""
        patients = self.own.patients
        if self.own.keeps(self.weight, gradient.numel() // (patients * len(weight))):
            # Detached: kept products must not keep the graph, whose nodes hold this very call.
            products = self.map.products(gradient.detach(), inputs.detach(), patients)
            if products is not None:
                self.own.products.append((self.weight, products))
                return None
        return self.map.weight_gradients(gradient, inputs, weight, patients)


def _apply(map: Map, inputs: Tensor, layer: Linear, own: Own, value: Tensor | None = None) -> Tensor:
    weight, bias = layer.weight, layer.bias
    if torch.is_autocast_enabled(inputs.device.type):
        inputs = inputs.to(torch.get_autocast_dtype(inputs.device.type))
    made: Tensor = _Apply.apply(  # type: ignore[no-untyped-call]
        inputs, own.of(weight, value), None if bias is None else own.of(bias), _Call(map, weight, own)
    )
    return made


def _dense(layer: nn.Linear, own: Own) -> Forward:
    return lambda inputs: _apply(Dense(), inputs, layer, own)


def _convolution(layer: Convolution, own: Own) -> Forward:
    geometry = Geometry.of(layer)
    return lambda images: _apply(geometry, images, layer, own)


def _standardised(layer: Convolution, own: Own) -> Forward:
    geometry = Geometry.of(layer)
    value, back = torch.func.vjp(standardised, layer.weight.detach())[:2]
    own.after(layer.weight, lambda gradient: back(gradient)[0])
    return lambda images: _apply(geometry, images, layer, own, value)


def _group_norm(layer: nn.GroupNorm, own: Own) -> Forward:
    def forward(images: Tensor) -> Tensor:
        count = len(images)  # all images' channels side by side in one image: the kernel then sums for each by itself
        side_by_side = images.reshape(1, count * layer.num_channels, *images.shape[2:])
        weight, bias = (_each(own.of(w), count).flatten() for w in (layer.weight, layer.bias))
        normed = F.group_norm(side_by_side, count * layer.num_groups, weight, bias, layer.eps)
        return normed.reshape(images.shape)

    return forward


def _layer_norm(layer: nn.LayerNorm, own: Own) -> Forward:
    def forward(inputs: Tensor) -> Tensor:
        normed = F.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
        between = (1,) * (inputs.dim() - 1 - len(layer.normalized_shape))
        weights = [_each(own.of(w), len(inputs)) for w in (layer.weight, layer.bias) if w is not None]
        weight, *bias = (w.reshape(len(inputs), *between, *layer.normalized_shape) for w in weights)
        return normed * weight + bias[0] if bias else normed * weight

    return forward


def _each(own: Tensor, count: int) -> Tensor:
    """Patients' weights [p, …] → their images' [p m, …]."""
    return own.repeat_interleave(count // len(own), dim=0)


@dataclass(frozen=True)
class Kind:
    """One kind of layer."""

    bind: Callable[[Any, Own], Forward]
    fits: Callable[[Any], bool] = lambda _: True


#: Exact types: a subclass may compute something else.
KINDS: Mapping[type[nn.Module], Kind] = {
    nn.Linear: Kind(_dense),
    nn.Conv1d: Kind(_convolution, known),
    nn.Conv2d: Kind(_convolution, known),
    nn.Conv3d: Kind(_convolution, known),
    StandardisedConv2d: Kind(_standardised, known),
    StandardisedConv3d: Kind(_standardised, known),
    nn.GroupNorm: Kind(_group_norm),
    nn.LayerNorm: Kind(_layer_norm),
}
