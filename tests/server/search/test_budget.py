import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from server.search.budget import share_of, spent_by, told_by
from shared.accounting import (
    SampledGaussian,
    evaluation_event,
    noise_multiplier,
    planned_evaluations,
    rdp_epsilon,
)
from shared.errors import InputError
from shared.study import MINIMAL, parse_study

PLAIN = parse_study(MINIMAL)
PRIVATE = parse_study(
    MINIMAL.replace('mode = "off"', 'mode = "local"\nepsilon = 4\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.2')
)


def test_without_privacy_there_is_nothing_to_share() -> None:
    assert share_of(PLAIN, 9) == PLAIN
    assert spent_by([PLAIN] * 9) == 0


@settings(max_examples=25, deadline=None)
@given(runs=st.integers(1, 30), epsilon=st.floats(0.5, 20), rate=st.floats(0.01, 1))
def test_all_shares_together_spend_the_budget_and_no_more(runs: int, epsilon: float, rate: float) -> None:
    study = replace(PRIVATE, privacy=replace(PRIVATE.privacy, epsilon=epsilon, sampling_rate=rate))
    share = share_of(study, runs)
    assert 0.97 * epsilon <= spent_by([share] * runs) <= epsilon * (1 + 1e-6)


def test_a_share_is_more_than_a_part() -> None:
    """Composition: nine runs cost less than nine times one."""
    share = share_of(PRIVATE, 9)
    assert share.privacy.epsilon is not None
    assert share.privacy.epsilon > 4 / 9


def test_what_runs_spend_is_what_a_ledger_would_say() -> None:
    rounds, steps = PRIVATE.training.rounds, PRIVATE.training.local_steps or 0
    sigma = noise_multiplier(PRIVATE) or 0.0
    events = [SampledGaussian(sampling_rate=0.2, noise_multiplier=sigma, steps=steps)] * (3 * rounds)
    assert spent_by([PRIVATE] * 3) == pytest.approx(rdp_epsilon(events, 1e-5))


def test_a_budget_too_small_for_so_many_runs_is_refused() -> None:
    tiny = replace(PRIVATE, privacy=replace(PRIVATE.privacy, epsilon=1e-4, delta=1e-9))
    with pytest.raises(InputError, match="a budget for 100000 runs"):
        share_of(tiny, 100_000)


def test_evaluations_with_noise_are_shared_too() -> None:
    evaluation = replace(PLAIN.evaluation, epsilon=2.0, delta=1e-5)
    share = share_of(replace(PLAIN, evaluation=evaluation), 5)
    for split, times in planned_evaluations(share).items():
        events = [evaluation_event(share, split)] * (5 * times)
        assert 1.9 < rdp_epsilon(events, 1e-5) <= 2.0 * (1 + 1e-6)
    assert 1.9 < told_by([share] * 5) <= 2.0 * (1 + 1e-6)
    assert told_by([PLAIN] * 5) == 0
