"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685, §4.1): beside a weight that stays, two small ones that move.

    y = W x + U D x,   D: inputs → rank,  U: rank → outputs, zeros at first

Guarantees: until something is learnt the network says what it said before; names of its own weights stay, adapters are
`NAME.down` and `NAME.up`; both are ordinary layers, so every way to per-patient gradients knows them.
"""

from typing import Any

from torch import Tensor, nn

from shared.models.layers import StandardisedConv2d, StandardisedConv3d


class _Adapted:
    """Mixed into a layer: what it gives, and what its adapter adds."""

    down: nn.Module
    up: nn.Module

    def forward(self, inputs: Tensor) -> Tensor:
        """As the layer's."""
        plain: Tensor = super().forward(inputs)  # type: ignore[misc]
        added: Tensor = self.up(self.down(inputs))
        return plain + added


class AdaptedLinear(_Adapted, nn.Linear):
    """A dense layer with an adapter."""


class AdaptedConv2d(_Adapted, nn.Conv2d):
    """A convolution with an adapter: the first of its two has the layer's filters' shape, the second looks at one
    place."""


class AdaptedConv3d(_Adapted, nn.Conv3d):
    """As AdaptedConv2d, of volumes."""


class AdaptedStandardised2d(_Adapted, StandardisedConv2d):
    """As AdaptedConv2d; the adapter is not standardised."""


class AdaptedStandardised3d(_Adapted, StandardisedConv3d):
    """As AdaptedStandardised2d, of volumes."""


_KINDS: dict[type[nn.Module], type[Any]] = {
    nn.Linear: AdaptedLinear,
    nn.Conv2d: AdaptedConv2d,
    nn.Conv3d: AdaptedConv3d,
    StandardisedConv2d: AdaptedStandardised2d,
    StandardisedConv3d: AdaptedStandardised3d,
}


def adapt(network: nn.Module, rank: int, but: nn.Module | None = None) -> int:
    """Put an adapter of `rank` beside every dense layer and convolution of `network` but those in `but`; returns how
    many. Draws from the current random state. Not beside layers of groups, nor where it would not be smaller."""
    left = {id(layer) for layer in but.modules()} if but is not None else set()
    found = 0
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) in _KINDS and id(layer) not in left and _pays(layer, rank):
                setattr(parent, name, _adapted(layer, rank))
                found += 1
    return found


def _pays(layer: Any, rank: int) -> bool:
    outputs, inputs = layer.weight.shape[0], layer.weight[0].numel()
    return getattr(layer, "groups", 1) == 1 and rank * (outputs + inputs) < outputs * inputs


def _adapted(layer: Any, rank: int) -> nn.Module:
    """`layer` with an adapter, its very weights in it."""
    kind, bias = _KINDS[type(layer)], layer.bias is not None
    made: nn.Module
    if isinstance(layer, nn.Linear):
        made = kind(layer.in_features, layer.out_features, bias=bias)
        made.down, made.up = (
            nn.Linear(layer.in_features, rank, bias=False),
            nn.Linear(rank, layer.out_features, bias=False),
        )
    else:
        geometry = {
            name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        }
        made = kind(layer.in_channels, layer.out_channels, bias=bias, **geometry)
        plain = nn.Conv2d if layer.weight.dim() == 4 else nn.Conv3d
        made.down = plain(layer.in_channels, rank, bias=False, **geometry)
        made.up = plain(rank, layer.out_channels, kernel_size=1, bias=False)
    made.weight, made.bias = layer.weight, layer.bias
    nn.init.zeros_(made.up.weight)
    return made
