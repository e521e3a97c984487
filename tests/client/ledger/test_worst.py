import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.ledger.exposure import Exposures
from client.ledger.tally import Running
from client.ledger.worst import _at_most, _start, epsilons, worst
from shared.accounting import Event, SampledGaussian, Stated, rdp_epsilon
from tests.client.ledger.test_exposure import bits_of

DELTA = 1e-5
#: Little noise on few, much on many: which order decides differs from set to set.
KINDS: tuple[Event, ...] = (
    SampledGaussian(sampling_rate=0.001, noise_multiplier=0.4, steps=3),
    SampledGaussian(sampling_rate=1.0, noise_multiplier=200.0, steps=50),
    SampledGaussian(sampling_rate=0.2, noise_multiplier=1.0, steps=9),
    SampledGaussian(sampling_rate=0.01, noise_multiplier=0.9, steps=400),
    Stated(epsilon=0.7, delta=0.0),
    Stated(epsilon=0.1, delta=6e-6),
)
cohorts = st.sets(st.integers(1, 12), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(cohorts, min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(KINDS)), max_size=20),
    st.lists(st.sampled_from(KINDS), max_size=2),
)
def test_every_set_and_the_worst_are_as_worked_out_one_by_one(
    sets: list[set[int]], charges: list[tuple[int, Event]], extra: list[Event]
) -> None:
    running = Running()
    for cohort, event in charges:
        running.add(cohort, event)
    exposures = Exposures.of([(number + 1, bits_of(each)) for number, each in enumerate(sets)])
    expected = [
        rdp_epsilon([event for cohort, event in charges if cohort in {0, *each}] + extra, DELTA)
        for each in [set[int](), *sets]
    ]
    spending = running.spending(extra)
    assert np.allclose(epsilons(exposures, spending, DELTA), expected, rtol=1e-9)
    assert expected[worst(exposures, spending, DELTA)] == pytest.approx(max(expected), rel=1e-8)


def test_the_search_goes_on_where_one_order_does_not_decide() -> None:
    """Set 1 has the largest sum at the order that decides for all cohorts together; set 3 has the largest ε."""
    running = Running()
    for cohort, (sigma, rate, steps) in enumerate(((2.0, 0.1, 100), (1.0, 0.01, 10), (0.5, 0.001, 100)), start=1):
        running.add(cohort, SampledGaussian(sampling_rate=rate, noise_multiplier=sigma, steps=steps))
    exposures, spending = Exposures.of([(c, bits_of({c})) for c in (1, 2, 3)]), running.spending()
    assert _at_most(exposures, spending, DELTA, _start(spending)).argmax() == 1
    assert epsilons(exposures, spending, DELTA).argmax() == worst(exposures, spending, DELTA) == 3


def test_of_equals_one_is_found() -> None:
    running = Running()
    for cohort in range(1, 30):
        running.add(cohort, KINDS[2])
    sets = [{a, b} for a in range(1, 30) for b in range(1, a)]
    exposures = Exposures.of([(number + 1, bits_of(each)) for number, each in enumerate(sets)])
    assert worst(exposures, running.spending(), DELTA) > 0


def test_alone_divides_each_noise_by_the_root_of_the_honest() -> None:
    running = Running()
    running.add(1, SampledGaussian(sampling_rate=0.1, noise_multiplier=3.0, steps=2, honest=9))
    running.add(1, Stated(epsilon=0.5, delta=1e-6))
    assert running.alone().steps((1,)) == {(1.0, 0.1): 2}
    assert running.alone().stated((1,)) == (0.5, 1e-6)
    assert running.steps((1,)) == {(3.0, 0.1): 2}, "the running total is as it was"
