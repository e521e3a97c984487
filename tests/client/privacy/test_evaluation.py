"""What an evaluation with noise tells of a held-out patient. Random tests fail by chance less than once in 10^6."""

from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.privacy.evaluation import noisy_counts, prefixes, weights_of
from client.privacy.stream import SecureStream
from shared.counts import decode_counts, encode_counts
from shared.metrics import BINS, BinaryCounts
from shared.prefix_noise import spread, strategy

Ints = NDArray[np.int64]
Image = tuple[float, int, int]  # score, label, patient

images = st.tuples(st.floats(0, 1), st.integers(0, 1), st.integers(0, 4))


def arrays(rows: list[Image]) -> tuple[NDArray[np.float64], Ints, Ints]:
    scores, labels, patients = ([row[k] for row in rows] for k in range(3))
    return np.array(scores, np.float64), np.array(labels, np.int64), np.array(patients, np.int64)


def counted(rows: list[Image], sigma: float = 1.0, most: int = 2) -> BinaryCounts:
    return noisy_counts(*arrays(rows), sigma=sigma, images_per_patient=most, stream=SecureStream())


class TestSensitivity:
    @settings(deadline=None)
    @given(st.lists(images, max_size=12), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), max_size=9))
    @pytest.mark.parametrize("most", [1, 2, 64])
    def test_a_patient_more_moves_what_is_released_by_one_at_most(
        self, most: int, others: list[Image], own: list[tuple[float, int]]
    ) -> None:
        more = others + [(score, label, 9) for score, label in own]
        moved = np.linalg.norm(prefixes(*arrays(more), most) - prefixes(*arrays(others), most))
        assert moved <= 1 + 1e-12
        assert (moved > 0) == bool(own)

    def test_the_patients_place_among_the_rows_makes_no_difference(self) -> None:
        others: list[Image] = [(0.2, 0, 0), (0.8, 1, 1)]
        own: list[Image] = [(0.5, 1, 9), (0.9, 1, 9)]
        first, last = (prefixes(*arrays(rows), 2) for rows in (own + others, others + own))
        assert first == pytest.approx(last, abs=1e-12)

    @pytest.mark.parametrize("copies", [1, 2, 50])
    def test_many_images_in_one_bin_reach_it_and_no_more(self, copies: int) -> None:
        found = prefixes(*arrays([(0.7, 1, 0)] * copies), 64)
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-12)

    def test_a_score_that_is_no_number_weighs_as_any_other(self) -> None:
        assert np.linalg.norm(prefixes(*arrays([(np.nan, 1, 0)]), 1)) == pytest.approx(1)


class TestWeights:
    def test_images_share_their_patients_weight(self) -> None:
        assert weights_of(np.array([3, 1, 3, 3, 1, 0]), 64) == pytest.approx([1 / 3, 1 / 2, 1 / 3, 1 / 3, 1 / 2, 1])

    def test_images_beyond_the_most_count_nothing(self) -> None:
        assert weights_of(np.array([3, 1, 3, 3, 1, 0]), 2).tolist() == [0.5, 0.5, 0.5, 0, 0.5, 1]

    def test_of_nobody_there_are_none(self) -> None:
        assert len(weights_of(np.empty(0, np.int64), 2)) == 0


ROWS: dict[str, list[Image]] = {
    "nobody": [],
    "one patient": [(0.9, 1, 0)],
    "one class": [(0.1 * k, 0, k) for k in range(9)],
    "many": [(k / 300, k % 2, k // 2) for k in range(300)],
}


class TestEveryHospital:
    @pytest.mark.parametrize("name", ROWS)
    def test_sends_as_many_integers_that_fit(self, name: str) -> None:
        values = counted(ROWS[name]).to_integers()
        assert len(values) == BinaryCounts.LENGTH
        assert decode_counts(encode_counts(values)) == values

    @pytest.mark.parametrize("name", ["nobody", "one patient", "one class"])
    def test_with_too_little_to_compare_has_no_figure_of_its_own(self, name: str) -> None:
        found = [counted(ROWS[name], 2.0) for _ in range(50)]
        assert sum(counts.sites for counts in found) == 0
        # a product of noise above 1.96 of its deviations, in less than 1 of 8: 25 of 50 by chance once in 10^8
        assert sum(isnan(counts.stratified_auc) for counts in found) > 50 - 25

    def test_sums_under_masks_hold_negative_counts(self) -> None:
        one, two = counted(ROWS["nobody"]), counted(ROWS["many"])
        summed = encode_counts(one.to_integers()) + encode_counts(two.to_integers())  # mod 2^64
        assert decode_counts(summed) == (one + two).to_integers()
        assert min(one.to_integers()[: 2 * BINS]) < 0


class TestNoise:
    def test_is_gaussian_independent_and_of_the_deviation_promised(self) -> None:
        sigma, draws = 3.0, 200
        exact = prefixes(*arrays(ROWS["many"]), 2).reshape(2, BINS)
        noise = []
        for _ in range(draws):
            found = counted(ROWS["many"], sigma)
            histograms = np.stack([found.positives, found.negatives])
            noise.append(np.cumsum(histograms - exact @ spread(BINS).T, axis=1))
        # sums from the first bin on, which rounding to whole numbers moves by at most a half
        values = np.stack(noise)  # [draws, 2, BINS]
        sums = np.tri(BINS) @ spread(BINS)
        expected = sigma**2 * np.square(sums).sum(axis=1) + 1 / 12
        ratio = np.square(values).mean(axis=(0, 1)) / expected  # chi-square of 400 degrees ÷ 400, per bin
        assert abs(ratio - 1).max() < 0.55
        assert np.abs(values.mean(axis=(0, 1)) / np.sqrt(expected / 400)).max() < 6.5

    def test_is_never_below_what_sigma_says(self) -> None:
        for sigma in (0.5, 1.0, 20.0):
            deviation = counted([], sigma).noise.deviation()
            assert sigma * (1 - 1e-3) <= deviation <= sigma * 1.01

    def test_is_new_every_time(self) -> None:
        one, two = counted(ROWS["many"]), counted(ROWS["many"])
        assert one.positives.tolist() != two.positives.tolist()
        assert one.twice_concordant != two.twice_concordant

    def test_an_attacker_who_knows_all_but_one_patient_does_no_better_than_the_gaussian(self) -> None:
        """The most telling statistic of all that is sent, of hospitals with and without the patient: their means are
        1 ÷ σ deviations apart, no more (nothing else leaks) and no less (there is no noise but what was paid for)."""
        sigma, draws, label = 1.0, 300, 1
        patient: Image = (0.7, label, 9)
        others: list[Image] = [(0.2, 0, 0), (0.8, 1, 1), (0.4, 0, 2)]
        direction = (prefixes(*arrays([patient]), 2)).reshape(2, BINS) @ strategy(BINS)  # on h, as C is on C h

        def seen(rows: list[Image]) -> NDArray[np.float64]:
            found = (counted(rows, sigma) for _ in range(draws))
            return np.array([(direction * np.stack([own.positives, own.negatives])).sum() for own in found])

        without, with_ = seen(others), seen([*others, patient])
        apart = (with_.mean() - without.mean()) / sqrt((with_.var() + without.var()) / 2)
        # √(2 ÷ 300) = 0.08 by chance; rounding each sum to whole numbers hides a little more
        assert 0.4 < apart < 1.45

    def test_every_figure_follows_from_the_noisy_histograms(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Noise that hides everybody completely: whoever the patients are, the same integers come out."""
        fixed = np.random.default_rng(0).integers(-(2**20), 2**20, 2 * BINS)
        monkeypatch.setattr("client.privacy.evaluation.release", lambda *_: fixed)
        assert counted(ROWS["many"]).to_integers() == counted(ROWS["nobody"]).to_integers()
