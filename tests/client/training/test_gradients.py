from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from client.training import gradients
from client.training.batches import Batch
from client.training.gradients import Loss, clipped_sum, clipped_sum_loop
from shared.models.layers import Output
from shared.models.registry import build
from shared.study import Model

ClippedSum = Callable[[nn.Module, Loss, Batch, float], Tensor]
SUMS: list[ClippedSum] = [clipped_sum, clipped_sum_loop]


def linear_loss(output: Tensor | Output, label: Tensor) -> Tensor:
    """Its gradient for image x of label ±1 is ±x: every expectation below is by hand."""
    assert isinstance(output, Tensor)
    return output[:, 0] * label


def cross_entropy(output: Tensor | Output, label: Tensor) -> Tensor:
    logits, penalty = output if isinstance(output, Output) else (output, 0.0)
    return F.cross_entropy(logits, label, reduction="none") + penalty


def three_numbers() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False))


def batch(images: list[list[float]], label: list[int], owner: list[int]) -> Batch:
    pixels = torch.tensor(images).reshape(len(images), 1, 1, 3)
    return Batch(pixels, torch.tensor(label), torch.tensor(owner), max(owner) + 1)


@pytest.mark.parametrize("clipped", SUMS)
class TestThreeNumbers:
    def test_short_gradients_add_up_and_long_ones_are_scaled_to_the_clip(self, clipped: ClippedSum) -> None:
        drawn = batch([[3.0, 0.0, 4.0], [0.0, 0.6, 0.0]], [1, -1], [0, 1])
        total = clipped(three_numbers(), linear_loss, drawn, 1.0)
        torch.testing.assert_close(total, torch.tensor([0.6, -0.6, 0.8], dtype=torch.float64), atol=1e-7, rtol=0)

    def test_a_patient_counts_by_the_mean_of_its_images(self, clipped: ClippedSum) -> None:
        drawn = batch([[0.4, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 0.5]], [1, 1, 1], [0, 0, 1])
        total = clipped(three_numbers(), linear_loss, drawn, 1.0)
        torch.testing.assert_close(total, torch.tensor([0.2, 0.2, 0.5], dtype=torch.float64), atol=1e-7, rtol=0)

    def test_a_patient_with_four_images_contributes_at_most_the_clip(self, clipped: ClippedSum) -> None:
        drawn = batch([[9.0, 0.0, 0.0]] * 4, [1] * 4, [0] * 4)
        total = clipped(three_numbers(), linear_loss, drawn, 0.05)
        assert total.norm() <= 0.05 * (1 + 1e-12)
        assert total.norm() == pytest.approx(0.05)

    def test_a_gradient_of_zero_stays_zero(self, clipped: ClippedSum) -> None:
        assert clipped(three_numbers(), linear_loss, batch([[0.0] * 3], [1], [0]), 1.0).tolist() == [0, 0, 0]

    def test_a_patient_without_a_finite_gradient_contributes_nothing(self, clipped: ClippedSum) -> None:
        drawn = batch([[float("nan"), 0.0, 0.0], [0.5, 0.0, 0.0]], [1, 1], [0, 1])
        assert clipped(three_numbers(), linear_loss, drawn, 1.0).tolist() == [0.5, 0, 0]


@pytest.mark.parametrize("at_once", [1, 3, 64])
@pytest.mark.parametrize(
    "model",
    [
        Model(name="cnn", options={"width": 4, "hidden": 8}),
        Model(name="cnn", options={"width": 4, "hidden": 0, "standardise": 1, "pooling": "flatten"}),
        Model(name="scattering"),
    ],
)
def test_many_at_a_time_equals_one_at_a_time(model: Model, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "MOST_PATIENTS", at_once)
    net = build(model, channels=1, classes=2, size=(16, 16), seed=0).double()
    owner = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4])
    pixels = torch.rand(11, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = Batch(pixels, owner % 2, owner, 5)
    for clip in (0.1, 1.0, 1e3):
        fast, slow = (clipped(net, cross_entropy, drawn, clip) for clipped in SUMS)
        assert fast.norm() <= 5 * clip
        torch.testing.assert_close(fast, slow, atol=1e-6 * clip, rtol=1e-6)


def test_frozen_weights_are_left_out() -> None:
    first = nn.Linear(3, 1, bias=False)
    first.weight.requires_grad_(False)
    net = nn.Sequential(nn.Flatten(), first, nn.Linear(1, 1))
    drawn = batch([[1.0, 0.0, 0.0]], [1], [0])
    assert clipped_sum(net, linear_loss, drawn, 1.0).shape == (2,)
    assert clipped_sum_loop(net, linear_loss, drawn, 1.0).shape == (2,)
