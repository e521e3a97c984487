import math

import pytest
import torch

from client.training.gradients.clip import RUN, Joined, Part, Products, Rows, bounded, clipped_sum, gram


def products(patients: int, places: int, out: int, channels: int, kernel: int = 1, seed: int = 0) -> Products:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(patients, places, channels * kernel, generator=generator, dtype=torch.float64)
    return of(inputs, torch.randn(patients, places, out, generator=generator, dtype=torch.float64), kernel)


def of(inputs: torch.Tensor, outputs: torch.Tensor, kernel: int = 1) -> Products:
    return Products(bounded(gram(inputs), gram(outputs)), lambda: (inputs.clone(), outputs.clone()), kernel)


def as_rows(product: Products) -> Rows:
    """[p, o, in, kernel] flat."""
    inputs, outputs = product.factors()
    whole = torch.einsum("pto,pti->poi", outputs, inputs)  # i: kernel outside, channels inside
    return Rows(torch.unflatten(whole, 2, (product.kernel, -1)).mT.flatten(1))


@pytest.mark.parametrize("kernel", [1, 9])
def test_a_product_is_the_rows_it_stands_for(kernel: int) -> None:
    product = products(3, 4, 5, 6, kernel)
    rows = as_rows(product)
    torch.testing.assert_close(product.squares(), rows.squares(), rtol=1e-9, atol=0)
    factors, totals = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64), torch.ones(2, 30 * kernel).double()
    product.add_to(totals[0], factors)
    rows.add_to(totals[1], factors)
    torch.testing.assert_close(totals[0], totals[1], rtol=1e-12, atol=1e-12)


def test_terms_that_cancel_are_never_taken_for_a_shorter_gradient() -> None:
    """Two places whose terms are 2^60 times the gradient that is left of them: float64 sees nothing of it, or less."""
    big = 2.0**30
    inputs = torch.tensor([[[big, 1.0], [big, 0.0]]], dtype=torch.float64)
    outputs = torch.tensor([[[big], [-big]]], dtype=torch.float64)
    product = of(inputs, outputs)
    left = torch.tensor([0.0, big], dtype=torch.float64)
    total = torch.zeros(2, dtype=torch.float64)
    clipped_sum([(slice(0, 2), product)], total, clip=1.0, real=1)
    assert float(product.squares()) >= float(left.square().sum())
    assert float(total.norm()) <= 1.0


@pytest.mark.parametrize("length", [1, RUN - 1, RUN, RUN + 1, 3 * RUN + 7])
def test_norms_of_rows_of_any_length(length: int) -> None:
    values = torch.randn(3, length, generator=torch.Generator().manual_seed(length))
    torch.testing.assert_close(Rows(values).squares(), values.double().square().sum(1), rtol=2.0**-18, atol=0)


def test_one_norm_over_all_parts_and_each_part_in_its_place() -> None:
    parts: list[tuple[slice, Part]] = [
        (slice(2, 3), Rows(torch.tensor([[4.0], [0.1]]))),
        (slice(0, 1), Rows(torch.tensor([[3.0], [0.2]]))),
    ]
    total = torch.full((3,), 10.0, dtype=torch.float64)
    assert clipped_sum(parts, total, clip=1.0, real=2) == 1
    assert total.tolist() == pytest.approx([10.8, 10.0, 10.9], rel=1e-7)


def test_a_norm_equal_to_the_clip_is_within() -> None:
    total = torch.zeros(2, dtype=torch.float64)
    assert clipped_sum([(slice(0, 2), Rows(torch.tensor([[3.0, 4.0]])))], total, clip=5.0, real=1) == 1
    assert total.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("strange", [math.nan, math.inf])
def test_a_strange_part_drops_the_patient_from_all_parts(strange: float) -> None:
    inputs, outputs = products(2, 1, 2, 3).factors()
    outputs[0, 0, 1] = strange
    product, alone = of(inputs, outputs), as_rows(of(inputs[1:], outputs[1:]))
    parts: list[tuple[slice, Part]] = [(slice(0, 6), product), (slice(6, 7), Rows(torch.tensor([[5.0], [7.0]])))]
    total = torch.zeros(7, dtype=torch.float64)
    assert clipped_sum(parts, total, clip=1e9, real=2) == 1
    torch.testing.assert_close(total, torch.cat([alone.values[0], torch.tensor([7.0]).double()]))


def test_small_weights_side_by_side_are_the_weights_apart() -> None:
    values, places = torch.tensor([[3.0, 4.0, 0.0], [0.1, 0.2, 0.2]]), (slice(4, 5), slice(0, 2))
    total = torch.ones(5, dtype=torch.float64)
    assert clipped_sum([(slice(None), Joined(Rows(values), places))], total, clip=1.0, real=2) == 1
    assert total.tolist() == pytest.approx([2.0, 1.2, 1.0, 1.0, 1.7], rel=1e-7)
