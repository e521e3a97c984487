import numpy as np
import pytest

from shared.metrics import BinaryCounts
from shared.score_curves import (
    average_precision,
    brier,
    decision_curves,
    precision_curve,
    recalibration,
    reliability_curve,
    roc_curve,
)


def counts(scores: list[float] | np.ndarray, labels: list[int] | np.ndarray) -> BinaryCounts:
    return BinaryCounts.of(np.array(scores), np.array(labels, np.int64), np.arange(len(scores)))


def drawn(slope: float = 1.0, shift: float = 0.0, n: int = 40_000) -> BinaryCounts:
    """Truth of probability logistic(shift + slope × logit of the score)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, n)
    truth = rng.random(n) < 1 / (1 + np.exp(-(shift + slope * logits)))
    return counts(1 / (1 + np.exp(-logits)), truth.astype(np.int64))


def test_average_precision_by_hand() -> None:
    """Positives at rank 1 and 3 of 4: (1 + 2/3) ÷ 2."""
    assert average_precision(counts([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0])) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_of_ties_is_the_share_of_positives() -> None:
    assert average_precision(counts([0.5] * 4, [1, 0, 0, 0])) == 0.25


def test_brier_score_by_hand() -> None:
    assert brier(counts([0.8, 0.3], [1, 0])) == pytest.approx((0.2**2 + 0.3**2) / 2, abs=5e-3)


def test_calibrated_scores_have_slope_1_and_intercept_0() -> None:
    assert recalibration(drawn()) == pytest.approx((1, 0), abs=0.05)


def test_scores_too_sure_have_a_slope_below_1_and_too_high_ones_an_intercept_below_0() -> None:
    assert recalibration(drawn(slope=0.5))[0] == pytest.approx(0.5, abs=0.04)
    assert recalibration(drawn(shift=-1.0))[1] == pytest.approx(-1.0, abs=0.05)


@pytest.mark.parametrize(
    ("scores", "labels"), [([0.1, 0.9], [0, 1]), ([0.1, 0.9], [1, 1]), ([], []), ([0.5] * 4, [0, 1, 0, 1])]
)
def test_no_slope_where_the_likelihood_has_no_maximum(scores: list[float], labels: list[int]) -> None:
    assert np.isnan(recalibration(counts(scores, labels))).all()


def test_a_perfect_model_gains_the_share_of_positives_at_any_threshold() -> None:
    model, everybody, nobody = decision_curves(counts([0.999] * 3 + [0.001] * 7, [1] * 3 + [0] * 7), "")
    assert {model.chart, everybody.chart, nobody.chart} == {"Decision curve"}
    assert model.y == pytest.approx([0.3] * len(model.y))
    at_10 = everybody.y[everybody.x.index(0.1)]
    assert at_10 == pytest.approx(0.3 - 0.7 / 9)
    assert set(nobody.y) == {0.0}


def test_net_benefit_by_hand() -> None:
    """Acting above 0.5: 2 rightly, 1 wrongly, of 5: (2 − 1) ÷ 5."""
    model = decision_curves(counts([0.9, 0.8, 0.7, 0.2, 0.1], [1, 1, 0, 1, 0]), "")[0]
    assert model.y[model.x.index(0.5)] == pytest.approx(0.2)


def test_curves_end_where_they_must() -> None:
    found = drawn(n=2000)
    roc, precision = roc_curve(found, "x")[0], precision_curve(found, "x")[0]
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert precision.x[-1] == 1
    assert precision.y[-1] == pytest.approx(found.positives.sum() / found.images)
    reliability = reliability_curve(found, "x")[0]
    assert np.abs(np.array(reliability.x) - reliability.y).max() < 0.1


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_one_class_alone_has_no_curves(labels: list[int]) -> None:
    found = counts([0.5] * len(labels), labels)
    assert (roc_curve(found, ""), precision_curve(found, ""), decision_curves(found, "")) == ((), (), ())
    assert np.isnan(average_precision(found))
