"""Noisy counts: unbiased, summable, and with intervals that cover. Noise is seeded here, so that nothing fails by
chance; the real one is tested in tests/client/privacy/test_evaluation.py."""

from dataclasses import dataclass
from math import erf, isnan, sqrt

import numpy as np
import pytest

from shared.metrics import BINS, BinaryCounts, bin_edges, bin_of
from shared.prefix_noise import spread

THRESHOLD = 270


def normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


@dataclass(frozen=True)
class World:
    """Hospitals of so many held-out patients; scores of positives and negatives `apart` deviations."""

    sizes: tuple[int, ...]
    sigma: float
    images: int = 1
    apart: float = 1.0
    prevalence: float = 0.3
    together: float = 0.6  # share of a score's variance that a patient's images have in common

    @property
    def area(self) -> float:
        return normal(self.apart / sqrt(2))

    def exact(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Histograms in which every patient weighs 1."""
        label = rng.random(size) < self.prevalence
        shared = rng.normal(self.apart * (label - 0.5), sqrt(self.together))
        scores = shared[:, None] + rng.normal(0, sqrt(1 - self.together), (size, self.images))
        bins = bin_of(1 / (1 + np.exp(-scores)))
        return tuple(np.bincount(bins[label == y].ravel(), minlength=BINS) / self.images for y in (True, False))  # type: ignore[return-value]

    def draw(self, rng: np.random.Generator) -> BinaryCounts:
        total = None
        for size in self.sizes:
            positives, negatives = self.exact(rng, size)
            noise = self.sigma * rng.normal(size=(2, BINS)) @ spread(BINS).T
            own = BinaryCounts.noisy(positives + noise[0], negatives + noise[1], self.sigma)
            total = own if total is None else total + own
        assert total is not None
        return total


WORLDS = [
    World((40,), 0.5),
    World((40,) * 4, 0.5),
    World((2000,), 0.5),
    World((200,), 2.0),
    World((2000, 200, 40), 2.0),
    World((200,) * 4, 5.0),
    World((2000,), 20.0),
    World((200,) * 2, 1.0, apart=3.0),
    World((200,) * 2, 1.0, apart=0.0),
]


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_intervals_cover_the_truth(world: World) -> None:
    rng, draws = np.random.default_rng(0), 200
    edge = -10 + 20 * THRESHOLD / BINS
    sensitivity, alarms = (1 - normal(edge - sign * world.apart / 2) for sign in (1, -1))
    hits = np.zeros(4)
    for _ in range(draws):
        found = world.draw(rng)
        intervals = [
            (found.stratified_interval, world.area),
            (found.pooled_interval, world.area),
            (found.share_interval(found.positives, THRESHOLD), sensitivity),
            (found.share_interval(found.negatives, THRESHOLD), alarms),
        ]
        hits += [low <= truth <= high for (low, high), truth in intervals]
    assert (hits / draws >= 0.90).all(), hits / draws
    # intervals that are not simply wide: [0, 1] would cover always
    assert hits[0] / draws <= 0.99, hits / draws


@pytest.mark.parametrize("world", [World((2,) * 3, 1.0), World((40,), 20.0), World((0,), 3.0)], ids=str)
def test_where_noise_drowns_the_patients_there_is_no_narrow_answer(world: World) -> None:
    rng = np.random.default_rng(1)
    found = [world.draw(rng) for _ in range(100)]
    assert np.mean([counts.stratified_interval == (0.0, 1.0) for counts in found]) >= 0.95
    assert sum(counts.sites for counts in found) == 0
    assert all(isnan(counts.mean_site_auc) for counts in found)


@pytest.mark.parametrize("world", [World((40,) * 3, 3.0), World((200, 40), 1.0, images=3), World((5,), 5.0)], ids=str)
def test_noise_biases_neither_pairs_nor_concordant_ones(world: World) -> None:
    rng, draws = np.random.default_rng(2), 600
    found = [world.draw(rng) for _ in range(draws)]
    share = world.prevalence * (1 - world.prevalence)
    expected = sum(size * (size - 1) for size in world.sizes) * share
    for values, truth in (
        (np.array([counts.pairs for counts in found]), expected),
        (np.array([counts.twice_concordant / 2 for counts in found]), expected * world.area),
    ):
        assert abs(values.mean() - truth) < 4 * values.std() / sqrt(draws)


def test_areas_are_unbiased_where_patients_outnumber_the_noise() -> None:
    rng, world = np.random.default_rng(3), World((200, 200, 40), 1.5)
    areas = np.array([world.draw(rng).stratified_auc for _ in range(300)])
    assert abs(areas.mean() - world.area) < 4 * areas.std() / sqrt(300) < 0.015


def test_the_deviation_said_is_that_of_the_noise() -> None:
    rng, sigma = np.random.default_rng(4), 2.0
    positives, negatives = World((600,), sigma).exact(rng, 600)
    found = []
    for _ in range(400):
        noise = sigma * rng.normal(size=(2, BINS)) @ spread(BINS).T
        found.append(BinaryCounts.noisy(positives + noise[0], negatives + noise[1], sigma))
    for said, figure in (("stratified_deviation", "stratified_auc"), ("total_deviation", None)):
        values = [getattr(c, figure) if figure else int(c.positives.sum()) for c in found]
        assert np.mean([getattr(c, said) for c in found]) == pytest.approx(np.std(values), rel=0.15)


def test_calibration_error_is_not_inflated_by_noise() -> None:
    rng, sigma = np.random.default_rng(5), 4.0
    scores = rng.random(4000)
    label = rng.random(4000) < scores
    positives, negatives = (np.bincount(bin_of(scores[label == y]), minlength=BINS) for y in (True, False))
    exact = BinaryCounts.of(scores, label.astype(np.int64), np.arange(4000)).calibration_error
    plain, found, said = [], [], []
    for _ in range(200):
        noise = sigma * rng.normal(size=(2, BINS)) @ spread(BINS).T
        counts = BinaryCounts.noisy(positives + noise[0], negatives + noise[1], sigma)
        gaps = [b.images * abs(b.mean_score - b.positive_share) for b in counts.calibration()]
        plain.append(sum(gaps) / counts.images)
        found.append(counts.calibration_error)
        said.append(counts.calibration_deviation)
    assert abs(np.mean(found) - exact) < abs(np.mean(plain) - exact)
    assert abs(np.mean(found) - exact) < np.mean(said)


def test_sums_of_hospitals_are_sums_of_every_integer() -> None:
    rng = np.random.default_rng(6)
    one, two = World((60,), 2.0).draw(rng), World((30, 10), 1.0).draw(rng)
    added = [a + b for a, b in zip(one.to_integers(), two.to_integers(), strict=True)]
    assert (one + two).to_integers() == added
    assert (one + two).noise.sites == 3
    assert BinaryCounts.from_integers(added).stratified_interval == (one + two).stratified_interval


def test_a_sum_of_exact_and_noisy_hospitals_counts_both() -> None:
    rng = np.random.default_rng(7)
    scores, labels = rng.random(400), rng.integers(0, 2, 400)
    exact = BinaryCounts.of(np.clip(scores + 0.3 * labels, 0, 1), labels, np.arange(400))
    noisy = World((400,), 1.0).draw(rng)
    both = exact + noisy
    assert both.pairs == exact.pairs + noisy.pairs and both.noise == noisy.noise
    low, high = both.stratified_interval
    assert low < both.stratified_auc < high
    width = sqrt(exact.pair_variance + noisy.noise.sampling(both.stratified_auc)) / both.pairs
    assert (high - low) / 2 > 1.95 * width


def test_negative_counts_are_summed_as_they_are() -> None:
    histogram = np.zeros(BINS)
    histogram[:2] = -3.2, 1.1
    found = BinaryCounts.noisy(histogram, histogram, 1.0)
    assert found.positives[:3].tolist() == [-3, 1, 0]
    assert found.images == -4 and found.shown == (0, 0)
    assert BinaryCounts.from_integers(found.to_integers()).positives.tolist() == found.positives.tolist()


def test_integers_fit_the_vector_for_hospitals_of_any_size() -> None:
    large = np.full(BINS, 131_072 / BINS)
    found = BinaryCounts.noisy(large, large, 20.0)
    assert max(map(abs, found.to_integers())) < 2**47


def test_counts_stored_before_there_was_noise_are_read_as_exact() -> None:
    exact = BinaryCounts.of(np.array([0.9, 0.2]), np.array([1, 0]), np.array([0, 1]))
    old = BinaryCounts.from_integers(exact.to_integers()[: BinaryCounts.EXACT])
    assert old.to_integers() == exact.to_integers() and old.noise.sites == 0
    with pytest.raises(ValueError, match="expected"):
        BinaryCounts.from_integers([0] * (BinaryCounts.EXACT + 1))


def test_noisy_roc_and_threshold_rise_and_stay_within_bounds() -> None:
    rng = np.random.default_rng(8)
    found = World((100,), 3.0).draw(rng)
    fpr, tpr = found.roc()
    for curve in (fpr, tpr):
        assert (np.diff(curve) >= 0).all() and curve[0] == 0 and curve[-1] == 1
    bins = [found.threshold_for(target) for target in (0.5, 0.8, 0.9, 0.99)]
    assert bins == sorted(bins, reverse=True) and 0 < bins[0] < len(bin_edges())
    for group in found.calibration():
        assert isnan(group.mean_score) or 0 <= group.positive_share <= 1
