import numpy as np
import pytest

from shared.score_bins import BINS, bin_of
from shared.shares import (
    THRESHOLDS,
    ClassClusters,
    Clusters,
    by_patient,
    design_effect,
    interval,
    sum_interval,
    width,
    wilson,
)


def test_wilson_of_published_figures() -> None:
    """Newcombe, Stat Med 1998; 17:857–872, table I: 81 of 263, 0 of 20."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_no_images_have_no_interval() -> None:
    assert np.isnan(wilson(float("nan"), 0)).all()


def test_an_interval_of_a_sum_by_hand() -> None:
    """Newcombe's method 10 with the difference turned: 1 − second."""
    low, high = sum_interval(0.9, 0.8, (0.85, 0.94), (0.76, 0.84))
    assert (low, high) == pytest.approx((1.7 - (0.05**2 + 0.04**2) ** 0.5, 1.7 + (0.04**2 + 0.04**2) ** 0.5))


def test_sums_by_patient() -> None:
    sums, images = by_patient(np.array([[1, 0], [1, 1], [0, 1]]), np.array([4, 9, 4]))
    assert sums.tolist() == [[1, 1], [1, 1]]
    assert images.tolist() == [2, 1]


def test_images_that_are_all_alike_count_once() -> None:
    """Three copies of each of n images: the effect is 3 (but for n ÷ (n − 1))."""
    called = np.array([1, 0] * 50)
    effect = design_effect(150, 300, 100, (int((9 * called**2).sum()), int((9 * called).sum()), 900))
    assert effect == pytest.approx(3 * 100 / 99)


@pytest.mark.parametrize("share", [0, 300])
def test_a_share_of_nobody_or_all_takes_the_worst_effect(share: int) -> None:
    assert design_effect(share, 300, 100, (3 * share, 3 * share, 900)) == 3


def test_clusters_add_up_and_survive_the_trip() -> None:
    rng = np.random.default_rng(0)
    scores, labels, patients = rng.random(60), rng.integers(0, 2, 60), rng.integers(0, 20, 60)
    halves = [ClassClusters.of(scores[part], labels[part], patients[part]) for part in (patients < 10, patients >= 10)]
    added = [a + b for a, b in zip(*(half.to_integers() for half in halves), strict=True)]
    assert added == ClassClusters.of(scores, labels, patients).to_integers()
    assert ClassClusters.from_integers(added).to_integers() == added
    assert len(added) == ClassClusters.LENGTH


def test_the_effect_between_two_thresholds_is_the_larger() -> None:
    rng = np.random.default_rng(1)
    patients = rng.integers(0, 40, 300)
    bins = bin_of(np.clip(rng.random(40)[patients] + 0.1 * rng.random(300), 0, 1))
    clusters, histogram = Clusters.of(bins, patients), np.bincount(bins, minlength=BINS)
    at = [clusters.effect(histogram, int(t)) for t in THRESHOLDS]
    assert max(at) > 3
    for k in range(len(THRESHOLDS) - 1):
        assert clusters.effect(histogram, int(THRESHOLDS[k]) + 5) == max(at[k], at[k + 1])


def test_an_interval_is_as_wide_as_a_bootstrap_of_patients() -> None:
    """Eight images of a patient, half of their chance shared."""
    rng = np.random.default_rng(2)
    patients = np.arange(80).repeat(8)
    scores = 1 / (1 + np.exp(-(rng.normal(size=80)[patients] + rng.normal(size=640))))
    bins = bin_of(scores)
    clusters, histogram = Clusters.of(bins, patients), np.bincount(bins, minlength=BINS)
    called = bins >= 256
    drawn = [np.concatenate([called[patients == p] for p in rng.integers(0, 80, 80)]).mean() for _ in range(500)]
    low, high = wilson(float(called.mean()), 640 / clusters.effect(histogram, 256))
    assert (high - low) / np.ptp(np.quantile(drawn, [0.025, 0.975])) == pytest.approx(1, abs=0.15)
    naive = wilson(float(called.mean()), 640)
    assert high - low > 1.5 * (naive[1] - naive[0])


def test_few_patients_say_less_of_how_far_a_mean_may_be_off() -> None:
    assert [round(width(patients), 3) for patients in (2, 3, 30, 10_000)] == [12.706, 4.303, 2.045, 1.96]
    assert np.isnan([width(0), width(1)]).all()
    assert interval(0.5, 0.1, 3) == pytest.approx((0.0697, 0.9303), abs=1e-4)
    assert interval(0.9, 0.1, 30) == pytest.approx((0.6955, 1.0), abs=1e-4)
    assert np.isnan([*interval(0.5, float("nan"), 9), *interval(0.5, 0.1, 1)]).all()
