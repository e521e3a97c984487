import numpy as np
import pytest

from shared.confusion import ClassCounts

LABELS, CALLED = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
PATIENTS = np.array([0, 0, 1, 2, 2, 3])


def counts() -> ClassCounts:
    return ClassCounts.of(np.eye(4)[CALLED], LABELS, PATIENTS)


def test_accuracy_over_images_and_over_the_classes_that_are_there() -> None:
    accuracy, balanced = counts().figures()
    assert accuracy.value == pytest.approx(4 / 6)
    assert balanced.value == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert accuracy.low is not None and accuracy.low < 4 / 6 < (accuracy.high or 0)


def test_the_table_is_by_truth() -> None:
    table = counts().shown(("a", "b", "c", "d"))[0]
    assert table.rows[0] == ("a", 2, 1, 0, 0, 2 / 3)
    assert table.rows[3] == ("d", 0, 0, 0, 0, None)


def test_hospitals_add_up() -> None:
    first, second = PATIENTS < 2, PATIENTS >= 2
    parts = [ClassCounts.of(np.eye(4)[CALLED[p]], LABELS[p], PATIENTS[p]).to_integers() for p in (first, second)]
    assert [a + b for a, b in zip(*parts, strict=True)] == counts().to_integers()
    assert ClassCounts.from_integers(4, counts().to_integers()).to_integers() == counts().to_integers()


def test_copies_of_a_patients_image_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    labels, called = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    once = ClassCounts.of(np.eye(3)[called], labels, np.arange(60)).figures()[0]
    often = ClassCounts.of(np.eye(3)[called].repeat(5, 0), labels.repeat(5), np.arange(60).repeat(5)).figures()[0]
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=0.01)
