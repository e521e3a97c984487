import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.prefix_noise import above, below, cross_noise, deviation_of, pair_noise, spread, strategy, total_deviation

BINS = 512


def triangle(bins: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.tri(bins, k=-1) + 0.5 * np.eye(bins)


def test_nobody_of_weight_one_moves_what_is_given_away_by_more_than_one() -> None:
    assert np.linalg.norm(strategy(BINS), axis=0) == pytest.approx(np.ones(BINS), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 7), st.floats(0, 1)), min_size=1, max_size=6))
def test_weights_over_several_bins_move_it_by_their_sum_at_most(cells: list[tuple[int, float]]) -> None:
    histogram = np.zeros(8)
    for place, weight in cells:
        histogram[place] += weight / len(cells)
    assert np.linalg.norm(strategy(8) @ histogram) <= histogram.sum() + 1e-12


def test_the_histogram_comes_back() -> None:
    assert spread(BINS) @ strategy(BINS) == pytest.approx(np.eye(BINS), abs=1e-12)


def test_before_it_is_normalised_it_is_the_square_root_of_the_prefix_sum() -> None:
    root = strategy(16) / strategy(16).diagonal()
    assert root @ root == pytest.approx(np.tri(16), abs=1e-12)


def test_sums_over_ranges_are_disturbed_little() -> None:
    assert total_deviation(BINS) == pytest.approx(2.468, abs=1e-3)
    ranges = [(0, 40), (100, 400), (256, 512), (300, 301), (511, 512), (55, 370)]
    for first, last in ranges:
        inside = np.zeros(BINS)
        inside[first:last] = 1
        assert deviation_of(inside) < 3.69 < np.sqrt(BINS) / 6


def test_a_positive_above_counts_one_and_beside_a_half() -> None:
    assert below(np.array([2.0, 4, 6])).tolist() == [1, 4, 9]
    assert above(np.array([2.0, 4, 6])).tolist() == [11, 8, 3]


def test_pure_noise_has_the_variances_said() -> None:
    rng, draws = np.random.default_rng(0), 40_000
    noise = rng.normal(size=(2, draws, 8)) @ spread(8).T
    concordant = np.einsum("di,ij,dj->d", noise[0], triangle(8), noise[1])
    pairs = noise[0].sum(1) * noise[1].sum(1)
    # heavy tails: a product of normals has kurtosis 9, so a variance is good to √(8 ÷ 40,000), 1.4 %
    found = concordant.var(), (concordant * pairs).mean(), pairs.var()
    assert found == pytest.approx(cross_noise(8), rel=0.08)


def test_variances_of_pairs_are_right_on_average_though_taken_at_noisy_counts() -> None:
    rng, draws, scale = np.random.default_rng(1), 20_000, 0.8
    positives, negatives = np.array([0, 1, 2, 4.0]), np.array([5, 3, 1, 0.0])
    noise = scale * rng.normal(size=(2, draws, 4)) @ spread(4).T
    p, n = positives + noise[0], negatives + noise[1]
    concordant, pairs = np.einsum("di,ij,dj->d", p, triangle(4), n), p.sum(1) * n.sum(1)
    true = concordant.var(), np.cov(concordant, pairs)[0, 1], pairs.var()
    said = np.mean([pair_noise(p[k], n[k], scale**2) for k in range(4000)], axis=0)
    assert said == pytest.approx(true, rel=0.06)
    assert concordant.mean() == pytest.approx(positives @ triangle(4) @ negatives, abs=0.8)
