"""What algorithms add to a hospital's steps and make of its update: three numbers, the papers' equations by hand."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from client.training.algorithms.base import Begin, bounded
from client.training.algorithms.choose import local_of
from client.training.algorithms.pull import Pull
from shared.study import MINIMAL, Study, parse_study


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


def study(strategy: str, **options: float) -> Study:
    """Two steps at rate 0.25."""
    plain = parse_study(MINIMAL)
    return replace(
        plain,
        federation=replace(plain.federation, strategy=strategy, options=options),
        training=replace(plain.training, learning_rate=0.25, local_steps=2),
    )


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam", "fedyogi", "fedadagrad", "fedexp"])
def test_most_algorithms_ask_nothing_of_a_hospital(strategy: str) -> None:
    asked = study(strategy)
    begin = Begin(asked, 1, floats(1, 2, 3))
    assert local_of(asked).pull(begin) is None
    made = local_of(asked).finish(begin, floats(0, 1, 2), 2)
    assert [up.tolist() for up in made.up] == [[0, 1, 2]] and made.kept == {}


def test_fedprox_draws_to_where_the_round_began() -> None:
    pull = local_of(study("fedprox", mu=0.5)).pull(Begin(study("fedprox"), 1, floats(1, 2, 3)))
    assert pull is not None
    assert pull.at(floats(3, 2, 1)).tolist() == [1, 0, -1]  # μ (w − wᵗ)


def test_fednova_sends_the_update_of_one_step() -> None:
    made = local_of(study("fednova")).finish(Begin(study("fednova"), 1, floats(1, 2, 3)), floats(4, 8, -2), 4)
    assert [up.tolist() for up in made.up] == [[1, 2, -0.5]]


def test_scaffold_by_hand() -> None:
    """c = (1, 0, 0), c_i = (0, 2, 0), K η = ½: c_i⁺ = c_i − c + (x − y) ÷ ½."""
    asked = study("scaffold")
    begin = Begin(asked, 1, floats(0, 0, 0), floats(1, 0, 0), {"control": floats(0, 2, 0)})
    pull = local_of(asked).pull(begin)
    assert pull is not None and pull.at(floats(5, 5, 5)).tolist() == [1, -2, 0]  # equation 3: g − c_i + c
    made = local_of(asked).finish(begin, floats(-1, 0, 2), 2)
    assert made.kept["control"].tolist() == [0 - 1 + 2, 2, -4]  # equation 4, option II
    assert made.up[0].tolist() == [-1, 0, 2]
    assert made.up[1].tolist() == [0.5, 0, -2], "c_i⁺ − c_i in units of K η"


def test_a_control_variate_that_was_scaled_down_is_kept_so() -> None:
    asked = replace(study("scaffold"), aggregation=replace(study("scaffold").aggregation, update_norm=1.0))
    begin = Begin(asked, 1, floats(0, 0, 0), floats(0, 0, 0))
    made = local_of(asked).finish(begin, floats(0.9, 0, 0), 1)  # one step: the change is twice as long
    assert float(np.linalg.norm(made.up[1])) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(made.kept["control"] * np.float32(0.5), made.up[1], rtol=1e-6)


def test_feddyn_by_hand() -> None:
    """α = ½, g_i = (1, 0, 0)."""
    asked = study("feddyn", alpha=0.5)
    begin = Begin(asked, 1, floats(1, 1, 1), kept={"gradient": floats(1, 0, 0)})
    pull = local_of(asked).pull(begin)
    assert pull is not None and pull.at(floats(3, 1, 1)).tolist() == [-1 + 1, 0, 0]  # −g_i + α (θ − w)
    made = local_of(asked).finish(begin, floats(2, 0, -4), 2)
    assert made.kept["gradient"].tolist() == [0, 0, 2] and [up.tolist() for up in made.up] == [[2, 0, -4]]


def test_a_pull_adds_its_gradient_to_those_of_a_module() -> None:
    """In the order of the sorted names: the bias, then the weight."""
    module = nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0]]))
        module.bias.fill_(3.0)
    torch.autograd.backward(module(torch.tensor([[10.0, 20.0]])).sum())
    Pull(0.5, anchor=floats(1, 1, 1), linear=floats(100, 0, -100)).onto(module)()
    assert module.bias.grad is not None and module.weight.grad is not None
    assert module.bias.grad.tolist() == [1 + 0.5 * 2 + 100]
    assert module.weight.grad.tolist() == [[10, 20 + 0.5 - 100]]


def test_a_pull_leaves_frozen_weights_and_an_empty_one_leaves_all() -> None:
    module = nn.Linear(2, 1)
    module.bias.requires_grad_(False)
    Pull(1.0, linear=floats(7, 8)).onto(module)()
    assert module.bias.grad is None and module.weight.grad is not None
    assert module.weight.grad.tolist() == [[7, 8]]
    other = nn.Linear(2, 1)
    Pull().onto(other)()
    assert other.weight.grad is None and other.bias.grad is None


def test_a_vector_within_the_bound_is_the_same_object_and_a_longer_one_is_scaled() -> None:
    short = floats(3, 4)
    assert bounded(short, 5.0) == (short, False)
    found, scaled = bounded(floats(6, 8), 5.0)
    assert scaled and 4.99 < float(np.linalg.norm(found)) < 5.0
