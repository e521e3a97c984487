"""The attack's arithmetic on numbers small enough to check by hand, and its figures against enumeration."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from shared.errors import MisuseError
from simulations.audit.membership import BARS, halves, judged, ratios, statistic


def test_every_patient_is_in_half_of_the_shadows() -> None:
    drawn = halves(50, 8, np.random.default_rng(0))
    assert drawn.shape == (8, 50)
    assert (drawn.sum(axis=0) == 4).all()
    assert len({tuple(column) for column in drawn.T}) > 20  # and not the same half for all


@pytest.mark.parametrize("shadows", [0, 2, 5])
def test_too_few_or_odd_shadows_are_refused(shadows: int) -> None:
    with pytest.raises(MisuseError, match="an even number of at least 4"):
        halves(10, shadows, np.random.default_rng(0))


def test_the_statistic_is_the_mean_logit_of_the_true_label() -> None:
    scores = np.array([0.5, 0.75, 0.75, 0.2], np.float32)
    found = statistic(scores, np.array([0, 1, 0, 0]), np.array([0, 1, 1, 2]))
    assert found == pytest.approx([0.0, 0.0, math.log(4)], abs=1e-6)


def test_a_certain_score_stays_finite() -> None:
    found = statistic(np.array([1.0, 0.0], np.float32), np.array([1, 1]), np.array([0, 1]))
    assert found == pytest.approx([math.log(1e7), -math.log(1e7)], rel=1e-3)


def test_the_ratio_is_that_of_two_normals() -> None:
    shadows = np.array([[4.0, 1.0], [6.0, -1.0], [1.0, 7.0], [-1.0, 5.0]])  # means 5 or 6 in, 0 out, variances 2
    inside = np.array([[True, False], [True, False], [False, True], [False, True]])
    target = np.array([5.0, 1.0])
    means = np.array([5.0, 6.0])
    expected = norm.logpdf(target, means, math.sqrt(2)) - norm.logpdf(target, 0, math.sqrt(2))
    assert ratios(target, shadows, inside) == pytest.approx(expected)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    scores, member = np.array([3.0, 1.0, 2.0, 0.0, 1.0]), np.array([True, True, False, False, False])
    # 3 beats all three; 1 beats 0 and draws with 1
    assert judged(scores, member, shadows=4).auc == pytest.approx((3 + 1.5) / 6)


def test_the_interval_of_the_area_holds_it_as_often_as_it_says() -> None:
    rng, truth = np.random.default_rng(0), norm.cdf(1 / math.sqrt(2))
    held = 0
    for _ in range(400):
        scores = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 40)])
        found = judged(scores, np.arange(100) < 60, shadows=4)
        held += found.low <= truth <= found.high
    assert 340 <= held <= 400  # 380 ± 4.4: below by more than 9 σ


def test_the_share_found_at_few_false_alarms() -> None:
    outside = np.arange(200.0)
    inside = np.array([198.5, 197.5, 500.0, 0.0])  # 1 % of 200: two false alarms, above 197
    found = judged(np.concatenate([inside, outside]), np.arange(204) < 4, shadows=4, allowed=(0.5, 0.1)).rates
    assert [(rate.false, rate.found, rate.allowed) for rate in found] == [(0.01, 0.75, 0.5), (0.001, 0.25, 0.1)]
    assert found[1].low == pytest.approx(1 - 0.975 ** (1 / 4))  # Clopper and Pearson, 1 of 4
    assert found[0].low < 0.75 < found[0].high


def test_nobody_and_everybody_found_have_intervals() -> None:
    scores, member = np.concatenate([np.zeros(10), np.ones(10)]), np.arange(20) < 10
    none, every = judged(scores, member, shadows=4), judged(scores, ~member, shadows=4)
    assert (none.auc, every.auc) == (0.0, 1.0)
    assert (none.rates[0].found, none.rates[0].low) == (0.0, 0.0)
    assert (every.rates[0].found, every.rates[0].high) == (1.0, 1.0)
    assert none.rates[0].high == pytest.approx(1 - every.rates[0].low)


def test_the_histogram_counts_everybody() -> None:
    scores = np.random.default_rng(0).standard_normal(300)
    found = judged(scores, np.arange(300) < 100, shadows=4)
    assert (sum(found.inside), sum(found.outside)) == (found.members, found.others) == (100, 200)
    assert len(found.edges) == BARS + 1


def test_one_kind_only_cannot_be_told_apart() -> None:
    with pytest.raises(MisuseError, match="patients trained on, and others"):
        judged(np.zeros(3), np.ones(3, bool), shadows=4)


def test_a_model_that_remembers_is_seen_through_and_one_that_does_not_is_not() -> None:
    rng = np.random.default_rng(1)
    for gain, low, high in ((3.0, 0.9, 1.0), (0.0, 0.38, 0.62)):
        inside = halves(400, 16, rng)
        hard, member = rng.normal(0, 2, 400), rng.random(400) < 0.5
        shadows = hard + gain * inside + rng.standard_normal(inside.shape)
        target = hard + gain * member + rng.standard_normal(400)
        found = judged(ratios(target, shadows, inside), member, shadows=16)
        assert low < found.auc < high  # of no gain: 0.5 ± 0.03
