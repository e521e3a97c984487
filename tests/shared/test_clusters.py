import numpy as np
import pytest

from shared.clusters import TRIALS, pair_figures
from shared.metrics import AUC_UNIT, BinaryCounts
from shared.shares import area_interval


def perfect(positives: int, negatives: int, images: int = 1) -> BinaryCounts:
    """Every patient with so many images, all told rightly."""
    labels = np.repeat([1, 0], [positives * images, negatives * images])
    return BinaryCounts.of(np.where(labels == 1, 0.9, 0.1), labels, np.arange(len(labels)) // images)


@pytest.mark.parametrize("patients", [2, 5, 50])
def test_perfectly_told_patients_have_the_variance_of_half_a_trial_off(patients: int) -> None:
    trials = TRIALS * patients
    owners = np.arange(2 * patients)
    twice, pairs, variance = pair_figures(np.repeat([0.9, 0.1], patients), np.repeat([1, 0], patients), owners)
    assert twice == 2 * pairs == 2 * patients**2
    assert variance == pytest.approx((1 - 0.5 / trials) * 0.5 / trials**2)


def test_an_area_of_one_from_few_patients_is_not_certain() -> None:
    ends = [perfect(k, k).stratified_interval for k in (3, 10, 100)]
    assert [high for _, high in ends] == [1.0, 1.0, 1.0]
    assert [round(low, 2) for low, _ in ends] == [0.62, 0.89, 0.99]  # of 9 pairs, whole numbers leave less


def test_many_images_of_the_same_patients_make_it_no_more_certain() -> None:
    once, often = perfect(5, 5), perfect(5, 5, images=100)
    assert often.stratified_interval == pytest.approx(once.stratified_interval, abs=0.03)


def test_one_pair_has_an_interval() -> None:
    found = perfect(1, 1)
    assert found.pair_variance == 1
    assert found.auc_sum == AUC_UNIT
    low, high = found.stratified_interval
    assert low < 0.2
    assert high == 1


@pytest.mark.parametrize(
    ("positives", "negatives", "apart"), [(5, 20, 1.8), (10, 100, 2.3), (10, 10, 3.3), (50, 50, 1.2)]
)
def test_intervals_of_good_areas_cover_the_truth(positives: int, negatives: int, apart: float) -> None:
    rng, labels = np.random.default_rng(1), np.repeat([1, 0], [positives, negatives])
    true = float((rng.normal(size=200_000) < apart + rng.normal(size=200_000)).mean())
    covered = 0
    for _ in range(200):
        scores = rng.normal(apart * labels)
        twice, pairs, variance = pair_figures(scores, labels, np.arange(len(labels)))
        low, high = area_interval(twice / (2 * pairs), variance**0.5)
        covered += low <= true <= high
    assert covered >= 184  # of 95 %, so few once in 10,000; normal intervals cover 60 to 180


def test_no_area_or_deviation_leaves_no_interval() -> None:
    assert np.isnan(area_interval(float("nan"), 0.1)).all()
    assert np.isnan(area_interval(0.8, float("nan"))).all()
