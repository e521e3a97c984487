"""Counts: written by one site, summed as the coordinator sums, and read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.counts import MOST, count_plain, encode_counts, read_counts
from shared.errors import MisuseError, OperatorError
from tests.shared.sums import counted, total_of


def test_counts_of_many_sites_at_the_edges_sum_exactly() -> None:
    """200 sites of 2^47 - 1 each, or minus that; even 65,536 would not wrap."""
    values = [0, 1, 2**32 - 1, 2**32, MOST - 1, 1 - MOST, -1]
    total = total_of([counted(count_plain(values))] * 200)
    assert read_counts(total, 200) == [200 * value for value in values]
    assert 65_536 * (MOST - 1) < 2**63


@given(st.lists(st.lists(st.integers(1 - MOST, MOST - 1), min_size=3, max_size=3), min_size=1, max_size=8))
def test_any_counts_sum_as_integers(rows: list[list[int]]) -> None:
    total = total_of([counted(count_plain(row)) for row in rows])
    assert read_counts(total, len(rows)) == [sum(column) for column in zip(*rows, strict=True)]


def test_a_counting_step_is_its_counts_after_a_one_and_no_vector() -> None:
    for values in ([], [7], [0, MOST - 1, 3]):
        plain = count_plain(values)
        assert plain.counts.dtype == np.dtype("<u8")
        assert plain.counts.tolist() == [1, *values]
        plain.fill(0, np.zeros(0, np.uint32))


@pytest.mark.parametrize("value", [-MOST, MOST, 2**64, 2**70])
def test_a_count_out_of_range_is_a_bug(value: int) -> None:
    """And no message tells the number."""
    for call in (encode_counts, count_plain):
        with pytest.raises(MisuseError, match=r"expected a whole number of magnitude below 2\^47, got one beyond"):
            call([5, value])


@pytest.mark.parametrize("survivors", [0, 2, 200])
def test_counts_of_another_number_of_sites_are_found(survivors: int) -> None:
    with pytest.raises(OperatorError, match=f"{survivors} sites in its first count, got 1"):
        read_counts(counted(count_plain([5])), survivors)
