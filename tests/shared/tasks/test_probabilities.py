import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.models.layers import Output
from shared.study import MINIMAL, parse_study
from shared.tasks.probabilities import Learning, kept_of, loss_of
from shared.tasks.registry import kind_of

LOGITS = torch.log(torch.tensor([[0.5, 0.25], [0.75, 0.125]]))


def negative(logits: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    """The cross-entropy where the logits are logarithms of the truth's probabilities."""
    return (-logits if weight is None else -logits * weight) + smoothing


def test_the_loss_is_the_mean_over_an_images_probabilities() -> None:
    found = loss_of(LOGITS, (2.0, 1.0), Learning(smoothing=0.5), negative)
    expected = [(2 * math.log(2) + math.log(4) + 1) / 2, (2 * math.log(4 / 3) + math.log(8) + 1) / 2]
    assert found.tolist() == pytest.approx(expected)


def test_focal_weighs_by_the_plain_probability_whatever_weights_and_smoothing_are() -> None:
    found = loss_of(LOGITS, (2.0, 1.0), Learning("focal", 1.0, 0.5), negative)
    expected = (0.5 * (2 * math.log(2) + 0.5) + 0.75 * (math.log(4) + 0.5)) / 2
    assert float(found[0]) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["cross-entropy", "focal"])
def test_half_precision_and_what_the_model_adds(loss: str) -> None:
    output = Output(torch.zeros(2, 1, dtype=torch.bfloat16), torch.tensor([0.0, 3.0]))
    found = loss_of(output, (1.0,), Learning(loss=loss), negative)  # type: ignore[arg-type]  # one of its words
    assert found.dtype == torch.float32
    assert found.tolist() == [0.0, 3.0]


def test_what_is_kept_is_the_mean_over_the_views() -> None:
    images = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.5]]]])

    def left(version: Tensor) -> Tensor:
        return version[:, 0, :, 0].bfloat16()  # the left pixel, [n, 1]

    assert kept_of(images, 1, left).tolist() == [[1.0], [0.0]]
    twice = kept_of(images, 2, left)
    assert twice.tolist() == [[0.5], [0.25]]
    assert twice.dtype == np.float64
    assert kept_of(images[:0], 2, left).shape == (0, 1)


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_a_label_that_says_a_side_is_the_other_in_the_mirror(kind: str) -> None:
    class Sides(nn.Module):
        """Logits 8 × the mean of the left half and of the right half."""

        def forward(self, images: Tensor) -> Tensor:
            return 8 * torch.stack([half.flatten(1).mean(dim=1) for half in images.chunk(2, dim=-1)], dim=1)

    labels = f'kind = "{kind}"\nlabels = ["left", "right"]\nmirrored = [["right", "left"]]\n'
    images, target = torch.zeros(2, 1, 32, 32), torch.zeros(2, dtype=torch.int64)
    images[0, ..., :16], images[1, ..., 16:] = 1, 1
    found = kind_of(parse_study(MINIMAL.replace('labels = ["clear", "nodule"]', labels)))
    once, twice = (found.measure(Sides(), images, target, views) for views in (1, 2))
    assert twice == pytest.approx(once)
    assert once.argmax(axis=1).tolist() == [0, 1]
