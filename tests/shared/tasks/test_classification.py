"""What only classification does: a finding of several classes, losses by hand, options that are refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from shared.errors import InputError, OperatorError
from shared.metrics import BinaryCounts
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.registry import kind_of

TWO = 'labels = ["clear", "nodule"]'
THREE = 'labels = ["a", "b", "c"]'
NOISE = "[evaluation]\nepsilon = 2.0\ndelta = 1e-5\n"


def study(task: str = TWO, options: str = "", more: str = "") -> Study:
    return parse_study(MINIMAL.replace(TWO, f"{task}\n[task.options]\n{options}") + more)


#: probabilities of a, b, c; truths
MEASURES = np.array([[0.8, 0.1, 0.1], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4], [0.45, 0.15, 0.4]])
TRUTH, PATIENTS = np.array([0, 1, 2, 0, 2]), np.arange(5)


def test_two_classes_count_as_they_always_did() -> None:
    kind = kind_of(study())
    measures = np.array([[0.1, 0.9], [0.8, 0.2]])
    counts = kind.count(measures, np.array([1, 0]), np.arange(2))
    assert counts == BinaryCounts.of(measures[:, 1], np.array([1, 0]), np.arange(2)).to_integers()


def test_a_finding_of_several_classes_is_scored_by_their_sum() -> None:
    kind = kind_of(study(THREE + '\nfinding = ["b", "c"]'))
    judged = kind.judge(kind.count(MEASURES, TRUTH, PATIENTS))
    found = BinaryCounts.of(1 - MEASURES[:, 0], (TRUTH > 0).astype(np.int64), PATIENTS)
    assert judged.headline.name == "stratified_auc"
    assert judged.headline.value == found.stratified_auc == 5 / 6
    of_a = judged.figure("stratified_auc", "a")
    assert of_a is not None and of_a.value == pytest.approx(5 / 6), "a is all that the finding is not"
    accuracy = judged.figure("accuracy", "all classes")
    assert accuracy is not None and accuracy.value == 3 / 5


def test_without_a_finding_the_headline_is_the_mean_of_the_classes() -> None:
    kind = kind_of(study(THREE))
    judged = kind.judge(kind.count(MEASURES, TRUTH, PATIENTS))
    areas = [judged.figure("stratified_auc", label) for label in "abc"]
    assert judged.headline.name == "macro_auc"
    assert judged.headline.value == pytest.approx(np.mean([area.value for area in areas if area and area.value]))
    assert judged.figure("stratified_auc") is None


def test_a_class_that_nobody_has_is_left_out_of_the_mean() -> None:
    kind = kind_of(study(THREE))
    judged = kind.judge(kind.count(MEASURES[:2], TRUTH[:2], PATIENTS[:2]))
    assert judged.headline.value == 1.0
    missing = judged.figure("stratified_auc", "c")
    assert missing is not None and missing.value is None


def test_pairs_of_different_hospitals_are_not_compared() -> None:
    kind = kind_of(study(THREE))
    parts = [kind.count(MEASURES[[k]], TRUTH[[k]], PATIENTS[[k]]) for k in range(5)]
    judged = kind.judge([sum(values) for values in zip(*parts, strict=True)])
    assert judged.images == 5
    assert judged.headline.value is None


@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_the_focal_loss_by_hand(gamma: float) -> None:
    kind = kind_of(study(THREE, f'loss = "focal"\ngamma = {gamma}'))
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    loss = kind.loss(logits, torch.tensor([0]), (2.0, 1.0, 1.0))
    assert float(loss) == pytest.approx(2 * 0.3**gamma * -np.log(0.7), rel=1e-5)


def test_smoothing_spreads_the_truth() -> None:
    kind = kind_of(study(THREE, "smoothing = 0.3"))
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    expected = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    assert float(kind.loss(logits, torch.tensor([0]), (1.0,) * 3)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: study('labels = ["a"]'), "task.labels"),
        (lambda: study(TWO + '\nfinding = ["clear"]'), "task.finding"),
        (lambda: study(TWO, 'intervals = "patients"', NOISE), "task.options.intervals"),
        (lambda: study(TWO, "gamma = 0.5"), "task.options.gamma"),
        (lambda: study(THREE, more=NOISE), "evaluation.epsilon"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], Study], key: str) -> None:
    with pytest.raises(InputError, match=key):
        kind_of(make())


@pytest.mark.parametrize("finding", ['["d"]', '["a", "a"]', '["a", "b", "c"]'])
def test_a_finding_is_some_of_the_labels(finding: str) -> None:
    with pytest.raises(InputError, match="finding"):
        study(f"{THREE}\nfinding = {finding}")


def test_classes_that_hold_different_images_are_refused() -> None:
    kind = kind_of(study(THREE))
    counts = kind.count(MEASURES, TRUTH, PATIENTS)
    counts[0] += 1
    with pytest.raises(OperatorError, match="5 images"):
        kind.judge(counts)


def test_more_pairs_than_images_make_are_refused() -> None:
    kind = kind_of(study())
    counts = kind.count(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 0]), np.arange(2))
    counts[2 * 512 + 1] = 2
    with pytest.raises(OperatorError, match="1 pairs"):
        kind.judge(counts)
