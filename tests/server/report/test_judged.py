import numpy as np
import pytest

from server.report.judged import metrics_of, noise_of, operating_point
from shared.metrics import BINS, BinaryCounts
from shared.prefix_noise import spread


def exact(seed: int = 0, patients: int = 400) -> BinaryCounts:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, patients)
    scores = 1 / (1 + np.exp(-rng.normal(2 * labels - 1, 1)))
    return BinaryCounts.of(scores, labels, np.arange(patients))


def noisy(sigma: float, seed: int = 0, patients: int = 400) -> BinaryCounts:
    own = exact(seed, patients)
    noise = sigma * np.random.default_rng(seed + 1).normal(size=(2, BINS)) @ spread(BINS).T
    return BinaryCounts.noisy(own.positives + noise[0], own.negatives + noise[1], sigma)


def test_exact_figures_carry_no_noise_and_no_interval_that_images_do_not_give() -> None:
    found = metrics_of(exact(1), exact(), 0.9, {})
    assert found.noise is None and found.n == 400
    point = found.operating_point
    assert point is not None and point.sensitivity == point.true_positive / found.positives
    assert point.sensitivity_low is None and point.specificity_high is None


def test_noisy_figures_say_by_how_much_and_hold_their_intervals() -> None:
    found = metrics_of(noisy(2.0, 1), noisy(2.0), 0.9, {})
    noise, point = found.noise, found.operating_point
    assert noise is not None and noise.total == pytest.approx(2 * 2.468, abs=1e-2)
    assert noise.pooled_low is not None and noise.pooled_high is not None and found.pooled_auc is not None
    assert noise.pooled_low < found.pooled_auc < noise.pooled_high
    assert point is not None and point.sensitivity_low is not None and point.specificity_low is not None
    assert point.sensitivity_low < (point.sensitivity or 0) < (point.sensitivity_high or 0)
    assert point.specificity_low < (point.specificity or 0) < (point.specificity_high or 0)


def test_a_little_noise_moves_the_figures_a_little() -> None:
    plain, found = metrics_of(exact(1), exact(), 0.9, {}), metrics_of(noisy(0.1, 1), noisy(0.1), 0.9, {})
    assert plain.stratified_auc is not None and plain.calibration_error is not None
    assert found.stratified_auc == pytest.approx(plain.stratified_auc, abs=0.005)
    assert found.calibration_error == pytest.approx(plain.calibration_error, abs=0.02)
    assert abs(found.n - plain.n) <= 2


def test_noise_alone_gives_no_figures_and_no_negative_counts() -> None:
    for seed in range(20):
        drowned = noisy(50.0, seed, patients=4)
        found = metrics_of(drowned, drowned, 0.9, {})
        assert found.stratified_auc is None and found.mean_site_auc is None
        assert (found.stratified_low, found.stratified_high) == (0.0, 1.0)
        point = operating_point(exact(), drowned, 0.9)
        assert point is not None
        assert min(point.true_positive, point.false_negative, point.true_negative, point.false_positive) >= 0
        assert min(found.n, found.positives, *(row.count for row in found.calibration)) >= 0
        assert min(found.roc_tpr) >= 0 and max(found.roc_tpr) <= 1


def test_no_threshold_is_chosen_where_nobody_has_the_finding() -> None:
    without = BinaryCounts.of(np.array([0.2, 0.7]), np.array([0, 0]), np.arange(2))
    assert operating_point(without, exact(), 0.9) is None
    assert metrics_of(without, exact(), 0.9, {}).operating_point is None
    assert operating_point(noisy(50.0, patients=4), exact(), 0.9) is None


def test_exact_counts_have_no_noise_to_tell_of() -> None:
    assert noise_of(exact()) is None
