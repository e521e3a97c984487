"""What `Layers` must refuse, and what it must not lose; that it gives the right sums is in test_ways.py."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from client.training.gradients.base import Loss, Patients
from client.training.gradients.layers import Layers
from client.training.gradients.loop import Loop
from shared.errors import MisuseError
from shared.models.layers import Output
from shared.models.registry import build
from shared.study import Model


def loss(output: Tensor | Output, label: Tensor) -> Tensor:
    assert isinstance(output, Tensor)
    return (output.sum(dim=1) - label).square()


def drawn() -> Patients:
    generator = torch.Generator().manual_seed(0)
    return Patients(torch.rand(3, 2, 4, generator=generator).double(), torch.ones(3, 2, dtype=torch.int64), 3)


class Twice(nn.Module):
    """One layer, seen twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.layer(torch.tanh(self.layer(inputs))))


class Aside(Twice):
    """A weight that is used behind its layer's back."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) + self.layer.weight[0]


class Unused(Twice):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(2, 2)


@pytest.mark.parametrize("make", [Twice, Unused])
def test_a_layer_may_be_used_twice_or_never(make: type[Twice]) -> None:
    net = make().double()
    found, right = (way.clipped_sum(net, loss, drawn(), 0.5).total for way in (Layers(), Loop()))
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-12)


def test_a_weight_used_outside_its_layer_is_noticed() -> None:
    with pytest.raises(MisuseError, match="its own layer"):
        Layers().clipped_sum(Aside().double(), loss, drawn(), 1.0)


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    return net


class Louder(nn.Linear):
    """A subclass computes what it likes."""


@pytest.mark.parametrize(
    "module",
    [
        tied(),
        nn.Sequential(Louder(4, 4)),
        nn.Sequential(nn.Conv2d(1, 1, 3, padding="same")),
        nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")),
        nn.Sequential(nn.BatchNorm2d(3)),
        nn.PReLU(),
        build(Model(name="scattering"), channels=1, classes=2, size=(16, 16), seed=0),
    ],
    ids=["tied", "subclass", "same", "reflect", "batch norm", "activation with weights", "bare weight"],
)
def test_what_it_does_not_know_it_does_not_fit(module: nn.Module) -> None:
    assert not Layers().fits(module)
    module.requires_grad_(False)
    assert Layers().fits(module), "what is frozen needs no knowing"


def test_nothing_trained_gives_nothing() -> None:
    frozen: tuple[nn.Module, Loss] = (Twice().double().requires_grad_(False), loss)
    assert Layers().clipped_sum(*frozen, drawn(), 1.0).total.shape == (0,)


def test_what_is_kept_for_the_sum_does_not_keep_the_pass_alive() -> None:
    """A cycle through the graph would hold every activation until, or beyond, the next garbage collection."""
    net, seen = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64)).double(), list[weakref.ref[Tensor]]()
    net[1].register_forward_hook(lambda _module, _inputs, output: seen.append(weakref.ref(output)))
    gc.disable()
    try:
        Layers().clipped_sum(net, loss, drawn(), 1.0)
        assert [ref() for ref in seen] == [None]
    finally:
        gc.enable()
