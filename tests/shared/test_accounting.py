import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from shared.accountants import ORDERS
from shared.accounting import SampledGaussian, noise_multiplier, prv_epsilon, rdp_epsilon
from shared.errors import InputError
from shared.study import MINIMAL, parse_study

DELTA = 1e-5


def event(rate: float, sigma: float, steps: int) -> SampledGaussian:
    return SampledGaussian(sampling_rate=rate, noise_multiplier=sigma, steps=steps)


CASES = [event(0.01, 1.1, 1000), event(0.1, 1.5, 300), event(0.3, 3.0, 100), event(1.0, 10.0, 50)]


def google(events: list[SampledGaussian]) -> dp_event.DpEvent:
    return dp_event.ComposedDpEvent(
        [
            dp_event.SelfComposedDpEvent(
                dp_event.PoissonSampledDpEvent(e.sampling_rate, dp_event.GaussianDpEvent(e.noise_multiplier)), e.steps
            )
            for e in events
        ]
    )


@pytest.mark.parametrize("case", CASES)
def test_opacus_and_google_agree_on_rdp(case: SampledGaussian) -> None:
    accountant = RdpAccountant(ORDERS)
    accountant.compose(google([case]))
    assert rdp_epsilon([case], DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=0.02)


@pytest.mark.parametrize("case", CASES[1:])
def test_prv_agrees_with_googles_pld_and_is_below_rdp(case: SampledGaussian) -> None:
    accountant = PLDAccountant()
    accountant.compose(google([case]))
    tight = prv_epsilon([case], DELTA)
    assert tight == pytest.approx(accountant.get_epsilon(DELTA), rel=0.03)
    assert tight <= rdp_epsilon([case], DELTA)


def test_composition_over_rounds_equals_one_go() -> None:
    rounds = [event(0.1, 1.5, 30)] * 10
    assert rdp_epsilon(rounds, DELTA) == rdp_epsilon([event(0.1, 1.5, 300)], DELTA)


def test_different_events_compose_to_more_than_either() -> None:
    one, other = event(0.1, 1.5, 100), event(0.2, 2.5, 50)
    both = rdp_epsilon([one, other], DELTA)
    assert both > max(rdp_epsilon([one], DELTA), rdp_epsilon([other], DELTA))
    assert both == rdp_epsilon([other, one], DELTA)


def test_nothing_spends_nothing() -> None:
    assert rdp_epsilon([], DELTA) == 0.0
    assert prv_epsilon([], DELTA) == 0.0


def private(epsilon: float) -> str:
    mode = f'mode = "local"\nepsilon = {epsilon}\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.2'
    return MINIMAL.replace('mode = "off"', mode)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0])
def test_noise_meets_the_target_and_is_not_wasted(epsilon: float) -> None:
    sigma = noise_multiplier(parse_study(private(epsilon)))
    assert sigma is not None
    spent = rdp_epsilon([event(0.2, sigma, 4)], DELTA)
    assert spent <= epsilon
    assert spent == pytest.approx(epsilon, rel=1e-2)


def test_a_target_that_cannot_be_met_names_the_key() -> None:
    with pytest.raises(InputError, match=r"privacy\.epsilon") as caught:
        noise_multiplier(parse_study(private(0.001)))
    assert "4 steps" in str(caught.value)


def test_no_noise_without_privacy() -> None:
    assert noise_multiplier(parse_study(MINIMAL)) is None
