from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from client.inference.ensemble import Ensemble, check_distinct, link_of
from shared.errors import InputError
from shared.published import Model
from shared.study import MINIMAL, Study, parse_study
from tests.shared.tasks.test_kinds import STUDIES, Case, case_of

STUDY = parse_study(MINIMAL)
IMAGES = torch.zeros(2, 1, 8, 8)


class Says(nn.Module):
    """The same answer to every image."""

    def __init__(self, *answer: float) -> None:
        super().__init__()
        self.answer = torch.tensor(answer)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer.expand(len(images), -1)


def test_probabilities_of_classes_are_averaged_not_logits() -> None:
    members = Says(0.0, float(np.log(3))), Says(0.0, float(np.log(1 / 3)))  # 0.75 and 0.25
    told = Ensemble(members, "softmax").eval()(IMAGES).softmax(dim=1)
    torch.testing.assert_close(told, torch.full((2, 2), 0.5))
    surer = Says(0.0, 20.0), Says(0.0, 0.0)  # 1 and 0.5: the mean of the logits would say 0.99995
    torch.testing.assert_close(Ensemble(surer, "softmax")(IMAGES).softmax(dim=1)[0, 1], torch.tensor(0.75))


def test_probabilities_of_labels_are_averaged_each_for_itself() -> None:
    told = Ensemble((Says(20.0, -20.0), Says(0.0, 0.0)), "sigmoid")(IMAGES).sigmoid()
    torch.testing.assert_close(told[0], torch.tensor([0.75, 0.25]))


def test_values_are_averaged() -> None:
    assert Ensemble((Says(1.0), Says(4.0)), "mean")(IMAGES).tolist() == [[2.5], [2.5]]


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_certain_models_give_finite_logits(link: str) -> None:
    told = Ensemble((Says(1e4, -1e4), Says(1e4, -1e4)), link)(IMAGES)  # type: ignore[arg-type]
    assert torch.isfinite(told).all()


def test_masks_are_averaged_pixel_by_pixel() -> None:
    class Map(Says):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])

    told = Ensemble((Map(0.0, 20.0), Map(0.0, 0.0)), "softmax")(IMAGES).softmax(dim=1)
    assert told.shape == (2, 2, 8, 8)
    torch.testing.assert_close(told[:, 1], torch.full((2, 8, 8), 0.75))


def test_one_model_is_not_changed_by_another_that_agrees() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(
        Ensemble((net, net), "softmax")(images).softmax(dim=1), net(images).softmax(dim=1), atol=1e-6, rtol=1e-5
    )


def changed(old: str, new: str) -> Study:
    return parse_study(MINIMAL.replace(old, new))


def test_models_of_other_networks_and_trainings_go_together() -> None:
    other = changed('"cnn"', '"densenet121"')
    assert link_of([STUDY, other, changed("rounds = 2", "rounds = 9")]) == "softmax"


@pytest.mark.parametrize(
    ("old", "new", "section"),
    [('"nodule"', '"mass"', "task"), ("[32, 32]", "[64, 64]", "input"), ('"DX"', '"CR"', "input")],
)
def test_models_of_other_questions_do_not(old: str, new: str, section: str) -> None:
    with pytest.raises(InputError, match=rf"expected models of the same \[{section}\]"):
        link_of([STUDY, changed(old, new)])


def test_a_kind_without_a_mean_is_refused_by_name() -> None:
    odd = replace(STUDY, task=replace(STUDY.task, kind="registration"))
    with pytest.raises(InputError, match="registration, whose outputs have none"):
        link_of([odd, odd])


def test_structures_that_do_not_exclude_each_other_are_averaged_each_for_itself() -> None:
    alone = replace(STUDY, task=replace(STUDY.task, kind="segmentation", options={"structures": "sigmoid"}))
    told = Ensemble((Says(20.0), Says(0.0)), link_of([alone, alone]))(IMAGES).sigmoid()
    torch.testing.assert_close(told, torch.full((2, 1), 0.75))  # one channel: softmax would say 1 of anything
    both = replace(STUDY, task=replace(STUDY.task, kind="segmentation"))
    assert link_of([both, both]) == "softmax"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_model_beside_itself_measures_what_it_measures_alone(path: Path) -> None:
    """Of every kind with a mean: what it says of its outputs is what its own measures take them for."""
    case = case_of(path)
    if case.kind.meaning.link is None:
        with pytest.raises(InputError, match=f"ensemble of {case.study.task.kind}"):
            link_of([case.study, case.study])
        return
    network = case.network.eval()
    both = Ensemble((network, network), link_of([case.study, case.study])).eval()
    np.testing.assert_allclose(Case(case.study, both, case.images, case.target).measure(), case.measure(), atol=1e-4)


def test_the_same_weights_twice_are_refused() -> None:
    one = Model(Path("a"), STUDY, np.zeros(1, np.float32), "11", "", "", (), None)
    with pytest.raises(InputError, match="b: expected models that differ, got the weights of a again"):
        check_distinct([one, Model(Path("b"), STUDY, np.zeros(1, np.float32), "11", "", "", (), None)])
