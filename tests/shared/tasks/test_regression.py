import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import InputError
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.registry import kind_of


def study(options: str = 'minimum = 20\nmaximum = 100\nunit = "years"', labels: str = '["age"]') -> Study:
    task = f'kind = "regression"\nlabels = {labels}\n[task.options]\n{options}'
    return parse_study(MINIMAL.replace('labels = ["clear", "nodule"]', task))


class Fixed(nn.Module):
    """Says −0.25 + the mean of an image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3))[:, None] - 0.25


def test_errors_are_in_the_values_own_unit() -> None:
    kind = kind_of(study())
    images = torch.zeros(3, 1, 8, 8) + torch.tensor([0.0, 0.25, 0.5]).reshape(3, 1, 1, 1)
    truth = torch.tensor([40.0, 50.0, 100.0])  # said: 40, 60, 80
    measures = kind.measure(Fixed(), images, truth, 2)
    np.testing.assert_allclose(measures, [[0.25, 0.25], [0.5, 0.375], [0.75, 1.0]])
    judged = kind.judge(kind.count(measures, truth.numpy(), np.arange(3)))
    head = judged.headline
    assert (head.name, head.better, head.unit) == ("mae", "lower", "years")
    assert head.value == pytest.approx(10, abs=1e-4)
    bias = judged.figure("bias")
    assert bias is not None and bias.value == pytest.approx(-10 / 3, abs=1e-4)


def test_what_is_learned_is_scaled_and_held_in_the_range() -> None:
    kind = kind_of(study())
    _, target = kind.example(torch.zeros(3, 1, 8, 8), torch.tensor([20.0, 60.0, 120.0]), torch.Generator())
    assert target.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("loss", "expected"), [("mse", 0.09), ("huber", 0.1 * (0.3 - 0.05))])
def test_the_loss_by_hand(loss: str, expected: float) -> None:
    kind = kind_of(study(f'minimum = 0\nmaximum = 1\nloss = "{loss}"'))
    assert float(kind.loss(torch.tensor([[0.3]]), torch.tensor([0.5]), (1.0,))) == pytest.approx(expected)


@pytest.mark.parametrize("options", ["", "minimum = 3", "minimum = 5\nmaximum = 5"])
def test_a_range_that_is_not_said_is_refused(options: str) -> None:
    with pytest.raises(InputError, match="never take it from the data"):
        kind_of(study(options))


def test_one_value_has_one_name() -> None:
    with pytest.raises(InputError, match=r"task\.labels"):
        kind_of(study(labels='["age", "weight"]'))


def test_one_patient_has_errors_and_no_intervals() -> None:
    kind, rows = kind_of(study()), np.array([[0.5, 0.25], [0.5, 0.5]])
    judged = kind.judge(kind.count(rows, rows[:, 1], np.zeros(2, np.int64)))
    for name, value in (("mae", 10), ("rmse", 80 * 0.125**0.5 / 2), ("bias", 10)):
        figure = judged.figure(name)
        assert figure is not None
        assert figure.value == pytest.approx(value, abs=1e-3)
        assert figure.low is figure.high is None


def test_a_prediction_that_is_no_number_is_the_middle_of_the_range() -> None:
    network = torch.nn.Flatten()
    measures = kind_of(study()).measure(network, torch.full((2, 1, 1, 1), torch.nan), torch.tensor([20.0, 60.0]), 1)
    assert measures.tolist() == [[0.5, 0.0], [0.5, 0.5]]
