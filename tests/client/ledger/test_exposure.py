import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from client.ledger.exposure import EVERYONE, Exposures, with_cohort


def bits_of(cohorts: set[int]) -> bytes:
    found = b""
    for cohort in cohorts:
        found = with_cohort(found, cohort)
    return found


def test_a_set_is_bits_from_the_lowest() -> None:
    assert (bits_of({1}), bits_of({1, 7}), bits_of({8}), bits_of({1, 17})) == (b"\2", b"\x82", b"\0\1", b"\2\0\2")


def test_the_first_row_is_a_patient_never_seen() -> None:
    sets = Exposures.of([(5, bits_of({1, 9})), (6, bits_of({1}))])
    assert sets.ids.tolist() == [0, 5, 6]
    assert [sets.cohorts(row) for row in range(3)] == [(EVERYONE,), (EVERYONE, 1, 9), (EVERYONE, 1)]
    assert sets.has(1).tolist() == [False, True, True]
    assert sets.has(9).tolist() == [False, True, False]
    assert sets.has(EVERYONE).tolist() == [True, True, True]
    assert sets.has(300).tolist() == [False, False, False]
    assert sets.sums(np.array([0.5, 1.0])).tolist() == [0.5, 1.5, 1.5]


@given(st.lists(st.sets(st.integers(1, 40)), max_size=6), st.lists(st.floats(0, 9), min_size=1, max_size=41))
def test_sums_are_over_the_cohorts_of_each_set(sets: list[set[int]], values: list[float]) -> None:
    found = Exposures.of([(number + 1, bits_of(each)) for number, each in enumerate(sets)]).sums(np.array(values))
    expected = [values[0] + sum(values[c] for c in each if c < len(values)) for each in [set(), *sets]]
    assert np.allclose(found, expected, rtol=1e-12)
