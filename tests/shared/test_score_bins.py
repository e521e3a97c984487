import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.score_bins import BINS, bin_centres, bin_edges, groups_of, rising, whole


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40))
def test_whole_numbers_keep_every_sum_to_a_half(values: list[float]) -> None:
    found = whole(np.array(values))
    assert found.dtype == np.int64
    assert (np.abs(np.cumsum(found) - np.cumsum(values)) <= 0.5 + 1e-9).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_sums_of_exact_counts_stay_as_they_are(values: list[int]) -> None:
    sums = np.cumsum(values)
    assert rising(sums).tolist() == sums.tolist()


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20))
def test_noisy_sums_rise_from_zero_to_their_last(values: list[int]) -> None:
    sums = np.cumsum(values)
    found = rising(sums)
    assert (np.diff(found) >= 0).all() and found[0] >= 0 and found[-1] == max(0, sums[-1])


def test_groups_hold_every_bin_once() -> None:
    groups = np.stack(groups_of(10))
    assert groups.sum(0).tolist() == [1.0] * BINS
    assert ((bin_edges() <= bin_centres()) & (groups[0] == (bin_centres() < 0.1))).all()
