import math
import subprocess
import sys
from collections.abc import Sequence

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.accounting import (
    Event,
    SampledGaussian,
    Stated,
    alone,
    evaluation_event,
    evaluation_noise,
    merged,
    noise_multiplier,
    planned_evaluations,
    planned_steps,
    prv_epsilon,
    rdp_epsilon,
    rdp_epsilon_of,
    round_event,
)
from shared.errors import InputError
from shared.renyi import ORDERS, curve
from shared.study import MINIMAL, Study, parse_study

DELTA = 1e-5


def event(rate: float, sigma: float, steps: int, honest: int = 1) -> SampledGaussian:
    return SampledGaussian(sampling_rate=rate, noise_multiplier=sigma, steps=steps, honest=honest)


CASES = [
    event(0.01, 1.1, 1000),
    event(0.1, 1.36, 300),
    event(0.1, 7.15, 300),
    event(0.3, 3.44, 300),
    event(1.0, 10.0, 50),
    event(1.0, 3.0, 1),
]


def google(events: Sequence[SampledGaussian]) -> dp_event.DpEvent:
    return dp_event.ComposedDpEvent(
        [
            dp_event.SelfComposedDpEvent(
                dp_event.PoissonSampledDpEvent(e.sampling_rate, dp_event.GaussianDpEvent(e.noise_multiplier)), e.steps
            )
            for e in events
        ]
    )


@pytest.mark.parametrize("case", CASES)
def test_googles_rdp_gives_our_epsilon(case: SampledGaussian) -> None:
    """Its conversion of the same divergences; its own, which between whole orders are bounds, are never better."""
    rates = case.steps * curve(case.noise_multiplier, case.sampling_rate)
    found = rdp_epsilon([case], DELTA)
    assert found == pytest.approx(compute_epsilon(ORDERS.tolist(), rates.tolist(), DELTA)[0], rel=1e-9)
    accountant = RdpAccountant(ORDERS.tolist())
    accountant.compose(google([case]))
    assert found <= accountant.get_epsilon(DELTA) * (1 + 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_opacuss_prv_is_googles_pld_and_below_rdp(case: SampledGaussian) -> None:
    accountant = PLDAccountant()
    accountant.compose(google([case]))
    tight = prv_epsilon([case], DELTA)
    assert tight == pytest.approx(accountant.get_epsilon(DELTA), rel=0.01)
    assert tight <= rdp_epsilon([case], DELTA)


def test_prv_of_different_events_is_googles_pld() -> None:
    events = [event(0.1, 1.5, 100), event(0.2, 2.5, 50), event(1.0, 12.0, 3)]
    accountant = PLDAccountant()
    accountant.compose(google(events))
    assert prv_epsilon(events, DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=0.01)


def test_a_published_tight_value() -> None:
    """JAX Privacy, analysis_test.py: 2.09245 by Google's PLD."""
    assert prv_epsilon([event(1024 / 50_000, 4.0, 10_000)], DELTA) == pytest.approx(2.09245, rel=0.01)


@pytest.mark.parametrize("case", [event(0.1, 0.01, 10), event(0.001, 900.0, 1), event(1.0, 0.3, 1000)])
def test_where_numbers_are_too_small_or_large_the_tight_figure_is_the_other_one(case: SampledGaussian) -> None:
    assert prv_epsilon([case], DELTA) == rdp_epsilon([case], DELTA)


def test_rounds_runs_and_restarts_compose_to_one_go_exactly() -> None:
    rounds = [event(0.1, 1.5, 30)] * 10
    runs = [event(0.1, 1.5, 100), event(0.1, 1.5, 1), event(0.1, 1.5, 199, honest=3)]
    whole = event(0.1, 1.5, 300)
    assert rdp_epsilon(rounds, DELTA) == rdp_epsilon(runs, DELTA) == rdp_epsilon([whole], DELTA)
    assert prv_epsilon(rounds, DELTA) == prv_epsilon([whole], DELTA)


events_of_any_kind = st.lists(
    st.builds(event, st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([0.7, 2.0, 30.0]), st.integers(0, 400))
    | st.builds(Stated, st.floats(0, 5), st.floats(0, 1e-6)),
    max_size=6,
)


@settings(deadline=None, max_examples=100)
@given(first=events_of_any_kind, then=events_of_any_kind)
def test_order_and_grouping_do_not_matter_and_more_never_costs_less(first: list[Event], then: list[Event]) -> None:
    both = rdp_epsilon([*first, *then], DELTA)
    assert both == rdp_epsilon([*then, *first], DELTA)
    assert both >= max(rdp_epsilon(first, DELTA), rdp_epsilon(then, DELTA)) - 1e-9
    whole = merged([*first, *then])
    assert rdp_epsilon_of(whole.steps, whole.stated, DELTA) == both


def test_nothing_spends_nothing() -> None:
    assert rdp_epsilon([], DELTA) == 0.0
    assert prv_epsilon([], DELTA) == 0.0
    assert rdp_epsilon([event(0.1, 1.0, 0)], DELTA) == 0.0


def test_what_is_stated_adds_its_epsilon_and_takes_its_delta() -> None:
    """Dwork and Roth 2014, theorem 3.16."""
    known = event(0.1, 1.5, 300)
    past = [Stated(epsilon=2.0, delta=2e-6), Stated(epsilon=0.5, delta=3e-6)]
    assert rdp_epsilon(past, DELTA) == 2.5
    assert rdp_epsilon([known, *past], DELTA) == 2.5 + rdp_epsilon([known], DELTA - 5e-6)
    assert prv_epsilon([known, *past], DELTA) == pytest.approx(2.5 + prv_epsilon([known], 5e-6), abs=0.02)


@pytest.mark.parametrize(
    ("events", "epsilon"),
    [
        ([Stated(epsilon=1.0, delta=DELTA)], 1.0),
        ([Stated(epsilon=1.0, delta=1.0001 * DELTA)], math.inf),
        ([Stated(epsilon=1.0, delta=DELTA), event(0.1, 50.0, 1)], math.inf),
        ([Stated(epsilon=1.0, delta=DELTA / 2), Stated(epsilon=1.0, delta=DELTA)], math.inf),
    ],
)
def test_a_delta_that_is_used_up_leaves_no_promise(events: list[Event], epsilon: float) -> None:
    assert rdp_epsilon(events, DELTA) == epsilon
    assert prv_epsilon(events, DELTA) == epsilon


def test_alone_a_hospital_has_only_its_own_share_of_the_noise() -> None:
    past = Stated(epsilon=1.0, delta=1e-7)
    assert alone([event(0.1, 3.0, 5, honest=9), event(0.2, 2.0, 1), past]) == (
        event(0.1, 1.0, 5, honest=1),
        event(0.2, 2.0, 1),
        past,
    )


def test_accounting_loads_no_torch() -> None:
    """The coordinator has none, and the ledger has no time for it."""
    script = (
        "import sys; from shared.accounting import *; "
        "print(rdp_epsilon([SampledGaussian(0.1, 1.5, 300)], 1e-5) > 1, 'torch' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]


def private(epsilon: float, mode: str = "local", rate: float = 0.2, steps: int = 2, rounds: int = 2) -> Study:
    keys = f'mode = "{mode}"\nepsilon = {epsilon}\ndelta = 1e-5\nclip = 1.0\nsampling_rate = {rate}'
    text = MINIMAL.replace('mode = "off"', keys).replace("local_steps = 2", f"local_steps = {steps}")
    return parse_study(text.replace("rounds = 2", f"rounds = {rounds}"))


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0, 40.0])
@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
def test_noise_meets_the_target_and_is_not_wasted(epsilon: float, rate: float) -> None:
    study = private(epsilon, rate=rate)
    sigma = noise_multiplier(study)
    assert sigma is not None
    spent = rdp_epsilon([round_event(study, sigma)] * study.training.rounds, DELTA)
    assert epsilon * (1 - 1e-3) <= spent <= epsilon


def test_both_modes_need_the_same_noise_for_the_same_steps() -> None:
    """In mode "distributed" it is that of the whole sum."""
    one, other = private(2.0, steps=3, rounds=4), private(2.0, "distributed", steps=1, rounds=12)
    assert planned_steps(one) == planned_steps(other) == 12
    assert noise_multiplier(one) == noise_multiplier(other)
    assert round_event(other, 1.5, honest=3) == event(0.2, 1.5, 1, honest=3)


def test_a_target_that_cannot_be_met_names_the_key() -> None:
    with pytest.raises(InputError, match=r"privacy\.epsilon") as caught:
        noise_multiplier(private(0.001))
    assert "4 steps" in str(caught.value)


def test_no_noise_without_privacy() -> None:
    study = parse_study(MINIMAL)
    assert noise_multiplier(study) is None
    with pytest.raises(ValueError, match="private study"):
        round_event(study, 1.0)


def evaluated(rounds: int, every: int, epsilon: float = 2.0) -> Study:
    text = MINIMAL.replace("rounds = 2", f"rounds = {rounds}")
    return parse_study(f"{text}[evaluation]\nevery = {every}\nepsilon = {epsilon}\ndelta = 1e-6\n")


@pytest.mark.parametrize(("rounds", "every"), [(1, 1), (10, 1), (10, 3), (9, 3), (2, 5)])
def test_planned_evaluations_are_those_that_happen(rounds: int, every: int) -> None:
    happen = sum(1 for number in range(1, rounds + 1) if number % every == 0 or number == rounds)
    assert planned_evaluations(evaluated(rounds, every)) == {1: happen, 2: 1}


@pytest.mark.parametrize("split", [1, 2])
def test_all_evaluations_of_a_split_together_stay_within_the_target(split: int) -> None:
    study = evaluated(10, 3)
    one = evaluation_event(study, split)
    assert (one.sampling_rate, one.steps, one.honest) == (1.0, 1, 1)
    assert one.noise_multiplier == evaluation_noise(study, split)
    spent = rdp_epsilon([one] * planned_evaluations(study)[split], 1e-6)
    assert 2.0 * (1 - 1e-3) <= spent <= 2.0


def test_evaluations_without_noise_spend_what_nobody_counts() -> None:
    study = parse_study(MINIMAL)
    assert evaluation_noise(study, 1) is None
    with pytest.raises(ValueError, match=r"evaluation\.epsilon"):
        evaluation_event(study, 1)


def test_an_evaluation_target_that_cannot_be_met_names_the_key() -> None:
    with pytest.raises(InputError, match=r"evaluation\.epsilon.*10 evaluations"):
        evaluation_noise(evaluated(10, 1, epsilon=0.001), 1)


def test_a_delta_too_small_for_the_numbers_gives_the_bound_that_holds() -> None:
    event = SampledGaussian(sampling_rate=0.3, noise_multiplier=1.0, steps=3)
    for delta in (1e-13, 1e-15, 1e-100):
        assert prv_epsilon([event], delta) == rdp_epsilon([event], delta)
