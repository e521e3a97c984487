import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.metrics import BINS, BinaryCounts, bin_edges, bin_of


def counts(scores: list[float], labels: list[int], patients: list[int] | None = None) -> BinaryCounts:
    owners = patients if patients is not None else list(range(len(scores)))
    return BinaryCounts.of(np.array(scores), np.array(labels, np.int64), np.array(owners, np.int64))


def brute_auc(scores: list[float], labels: list[int]) -> float:
    pairs = [
        (p, n) for p, y in zip(scores, labels, strict=True) if y for n, z in zip(scores, labels, strict=True) if not z
    ]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def test_auc_of_four_images_by_hand() -> None:
    found = counts([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    assert found.stratified_auc == 0.75
    assert (found.twice_concordant, found.pairs) == (6, 4)


def test_ties_count_half() -> None:
    assert counts([0.5, 0.5], [0, 1]).stratified_auc == 0.5


def test_pairs_are_compared_within_a_site_only() -> None:
    low, high = counts([0.1, 0.2], [0, 1]), counts([0.8, 0.9], [0, 1])
    both = low + high
    assert both.stratified_auc == 1.0
    assert both.pooled_auc == 0.75
    assert both.mean_site_auc == pytest.approx(1.0)


def test_a_site_without_one_class_adds_no_pairs_but_its_images() -> None:
    both = counts([0.1, 0.9], [0, 1]) + counts([0.3, 0.4], [0, 0])
    assert (both.pairs, both.sites, both.images) == (1, 1, 4)


def test_no_pairs_no_figure() -> None:
    found = counts([0.3, 0.4], [0, 0])
    assert np.isnan(found.stratified_auc)
    assert np.isnan(found.pooled_auc)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(0, 1)), min_size=2, max_size=40))
def test_auc_equals_all_pairs(images: list[tuple[float, int]]) -> None:
    scores, labels = [s for s, _ in images], [y for _, y in images]
    if len(set(labels)) == 2:
        assert counts(scores, labels).stratified_auc == pytest.approx(brute_auc(scores, labels))


def test_integers_survive_the_trip() -> None:
    found = counts([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    again = BinaryCounts.from_integers(found.to_integers())
    assert again.to_integers() == found.to_integers()
    assert len(found.to_integers()) == BinaryCounts.LENGTH
    assert all(value >= 0 for value in found.to_integers())


def test_clustered_variance_is_delongs_with_one_image_per_patient() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random(60), np.r_[np.ones(25, int), np.zeros(35, int)]
    positive, negative = scores[:25], scores[25:]
    psi = (positive[:, None] > negative[None, :]).astype(float)
    # DeLong et al. 1988: components' sample variances over their numbers
    expected = psi.mean(1).var(ddof=1) / 25 + psi.mean(0).var(ddof=1) / 35
    found = BinaryCounts.of(scores, labels, np.arange(60))
    assert found.pair_variance / found.pairs**2 == pytest.approx(expected, rel=1e-4)


def test_repeating_each_image_of_a_patient_does_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.random(80), rng.integers(0, 2, 80)
    once = BinaryCounts.of(scores, labels, np.arange(80))
    thrice = BinaryCounts.of(np.tile(scores, 3), np.tile(labels, 3), np.tile(np.arange(80), 3))
    assert thrice.pair_variance / thrice.pairs**2 == pytest.approx(once.pair_variance / once.pairs**2, rel=0.05)


def test_threshold_reaches_the_sensitivity_and_confusion_adds_up() -> None:
    found = counts([0.1, 0.6, 0.7, 0.9, 0.2, 0.65], [0, 1, 1, 1, 0, 0])
    threshold = found.threshold_for(0.9)
    table = found.confusion(threshold)
    assert table == (3, 0, 2, 1)
    assert table.sensitivity == 1.0
    assert table.specificity == pytest.approx(2 / 3)


def test_bins_are_ordered_and_cover_all_scores() -> None:
    edges = bin_edges()
    assert len(edges) == BINS
    assert (np.diff(edges) > 0).all()
    assert bin_of(np.array([0.0, 1.0])).tolist() == [0, BINS - 1]
    inside = np.array([0.003, 0.31, 0.5, 0.77, 0.999])
    bins = bin_of(inside)
    assert (edges[bins] <= inside).all()
    assert (inside < edges[bins + 1]).all()


def test_perfectly_calibrated_scores_have_little_error() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(20_000)
    labels = (rng.random(20_000) < scores).astype(np.int64)
    assert BinaryCounts.of(scores, labels, np.arange(20_000)).calibration_error < 0.02
