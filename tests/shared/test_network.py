"""Which weights of a study's network move."""

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from shared.errors import InputError
from shared.models.adapters import adapt
from shared.models.layers import StandardisedConv2d
from shared.network import network_of
from shared.parameters import layout_of
from shared.study import MINIMAL, Study, parse_study
from shared.study.model import Model

PLAIN = parse_study(MINIMAL)
VIT = Model(name="vit", options={"patch": 8, "width": 12, "depth": 2})


def study_of(model: Model) -> Study:
    return replace(PLAIN, model=model)


def moving(model: Model) -> set[str]:
    layout = layout_of(network_of(study_of(model)))
    return set(layout.names) - layout.frozen


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        (("head",), {"head.1.weight", "head.1.bias", "head.3.weight", "head.3.bias"}),
        (("head.3",), {"head.3.weight", "head.3.bias"}),
        (("head.3.bias", "blocks.0.0.bias"), {"head.3.bias", "blocks.0.0.bias"}),
        (("norm",), {f"blocks.{block}.1.{part}" for block in range(3) for part in ("weight", "bias")}),
        (("bias",), {"head.1.bias", "head.3.bias", *(f"blocks.{b}.{n}.bias" for b in range(3) for n in range(2))}),
    ],
)
def test_only_what_is_named_moves(trained: tuple[str, ...], expected: set[str]) -> None:
    assert moving(Model(name="cnn", trained=trained)) == expected


def test_names_that_no_weight_has_are_refused() -> None:
    with pytest.raises(InputError, match=r"model.trained: expected beginnings of names among blocks.0.0.*got hed"):
        moving(Model(name="cnn", trained=("hed",)))
    with pytest.raises(InputError, match=r"model.frozen: expected beginnings.*got blo"):
        moving(Model(name="cnn", frozen=("blo",)))
    with pytest.raises(InputError, match="all of them frozen"):
        moving(Model(name="cnn", frozen=("blocks", "head")))


@pytest.mark.parametrize("other", [{"trained": ("head",)}, {"adapter_rank": 2}])
def test_frozen_and_trained_exclude_each_other(other: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="frozen, or trained and adapter_rank"):
        Model(name="cnn", frozen=("blocks",), **other)  # type: ignore[arg-type]


def test_with_adapters_they_and_the_head_move() -> None:
    names = moving(replace(VIT, adapter_rank=2))
    assert {name.rpartition(".")[2] for name in names} == {"weight", "bias"}
    assert {name for name in names if name.endswith("bias")} == {"head.bias"}
    assert len(names) == 2 + 2 * (2 * 4 + 1)  # of 2 blocks 4 dense layers each, and the patches' convolution
    assert moving(replace(VIT, adapter_rank=2, trained=("net.norm",))) - names == {"net.norm.weight", "net.norm.bias"}


def test_adapters_change_neither_weights_nor_answers_before_they_learn() -> None:
    plain, adapted = network_of(study_of(VIT)), network_of(study_of(replace(VIT, adapter_rank=2)))
    before, after = plain.state_dict(), adapted.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name.split(".")[-2] for name in set(after) - set(before)} == {"down", "up"}
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(adapted(images), plain(images))


def test_an_adapter_adds_a_product_of_its_rank() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6), StandardisedConv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8))
    before = net[0]
    assert adapt(net, 2) == 2, "not beside a layer of groups"
    layer = net[0]
    assert layer is not before and layer.weight is before.weight
    torch.nn.init.ones_(layer.get_submodule("up").weight)  # type: ignore[arg-type]
    inputs = torch.rand(3, 8)
    added = layer(inputs) - torch.nn.functional.linear(inputs, layer.weight, layer.bias)  # type: ignore[arg-type]
    assert torch.linalg.matrix_rank(added.detach(), atol=1e-5) == 1  # U is ones: all outputs alike
    maps = torch.rand(1, 8, 5, 5)
    assert net[1](maps).shape == (1, 8, 5, 5)


def test_adapters_that_are_no_smaller_are_refused() -> None:
    with pytest.raises(InputError, match=r"model.adapter_rank: expected layers.*none for rank 256"):
        network_of(study_of(replace(VIT, adapter_rank=256)))
