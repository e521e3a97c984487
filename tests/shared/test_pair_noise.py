from math import isnan, sqrt

import numpy as np
import pytest

from shared.pair_noise import CUBIC_UNIT, VARIANCE_UNIT, Z_95, PairNoise, is_known, ratio_interval, share


def test_of_no_hospital_with_noise_all_is_zero() -> None:
    assert PairNoise() == (0,) * len(PairNoise._fields)
    assert PairNoise().moments(8) == (0, 0, 0) and PairNoise().deviation() == 0


def test_one_hospitals_figures_by_hand() -> None:
    found = PairNoise.of(np.array([0.0, 0, 8]), np.array([16.0, 0, 0]), 1e-6)
    assert (found.sites, found.pairs) == (1, 8 * 16)
    assert found.by_positives == 8 * 8 * 16 // CUBIC_UNIT and found.by_negatives == 8 * 16 * 16 // CUBIC_UNIT


def test_deviations_add_up_in_squares() -> None:
    twice = PairNoise(sites=2, variance=2 * 9 * VARIANCE_UNIT)
    assert twice.deviation() == pytest.approx(sqrt(18))


def test_variances_are_never_below_those_of_noise_alone() -> None:
    found = PairNoise(sites=1, variance=4 * VARIANCE_UNIT, concordant=-50, both=900, all=-1).moments(8)
    alone = PairNoise(sites=1, variance=4 * VARIANCE_UNIT).moments(8)
    assert found[0] == alone[0] > 0 and found[2] == alone[2] > 0
    assert found[1] ** 2 <= found[0] * found[2] * (1 + 1e-12)


def test_sums_that_no_honest_hospital_sends_end_in_no_error() -> None:
    wrong = PairNoise(sites=-3, variance=-5, concordant=-7, both=11, all=-13, pairs=-17, by_positives=-19)
    assert ratio_interval(1.0, 1.0, wrong.moments(8), wrong.sampling(0.7))[1] <= 1


def test_sampling_variance_is_hanleys_and_mcneils() -> None:
    # 51 abnormal and 58 normal images, area 0.893: Q1 = 0.8067, Q2 = 0.8425, standard error 0.0325
    p, n = 51, 58
    noise = PairNoise(1, 1, 0, 0, 0, p * n, round(p * p * n / CUBIC_UNIT), round(p * n * n / CUBIC_UNIT))
    assert sqrt(noise.sampling(0.893)) / (p * n) == pytest.approx(0.0325, abs=0.0001)


def test_without_noise_an_interval_is_the_normal_one() -> None:
    low, high = ratio_interval(60, 80, (0, 0, 0), 64.0)
    assert (low, high) == pytest.approx((0.75 - Z_95 * 0.1, 0.75 + Z_95 * 0.1))


@pytest.mark.parametrize("whole", [-100.0, 0.0, 1.9])
def test_where_the_whole_may_be_zero_the_interval_is_all(whole: float) -> None:
    assert ratio_interval(1.0, whole, (1.0, 0.0, 1.0), 0.0) == (0.0, 1.0)


@pytest.mark.parametrize("part", [-30.0, 130.0])
def test_an_interval_stays_within_zero_and_one(part: float) -> None:
    low, high = ratio_interval(part, 100.0, (1.0, 0.0, 1.0), 0.0)
    assert 0 <= low <= high <= 1


def test_a_share_is_held_within_bounds_and_unknown_where_its_whole_may_be_zero() -> None:
    assert (share(-1, 10, 1.0), share(11, 10, 1.0), share(5, 10)) == (0.0, 1.0, 0.5)
    assert isnan(share(1, 1.9, 1.0)) and isnan(share(0, 0))
    assert is_known(2.0, 1.0) and not is_known(1.9, 1.0)
