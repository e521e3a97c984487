"""Against Opacus's series and Google's, published values, closed forms, and the laws that privacy obeys."""

import math
import warnings
from decimal import Decimal, localcontext

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis import rdp

from shared.renyi import LEAST_NOISE, MOST_NOISE, ORDERS, Curve, curve, epsilon_of, least_noise

DELTA = 1e-5
CASES = [(4.0, 0.02), (1.0, 0.1), (1.5, 0.1), (0.5, 0.3), (3.0, 0.3), (10.0, 0.9), (0.3, 0.01), (2.0, 0.999999)]
#: Beyond, Opacus's binomial coefficients do not fit into a float; and with little noise ours is a bound only.
USUAL = ORDERS < 600
WHOLE = USUAL & (ORDERS % 1 == 0)
BETWEEN = USUAL & (ORDERS % 1 > 0) & (ORDERS > 2)

sigmas = st.floats(0.05, 2000.0)
rates = st.floats(1e-6, 1.0)
counts = st.integers(1, 10**6)
deltas = st.floats(1e-12, 0.1)


def google(sigma: float, rate: float, orders: Curve) -> Curve:
    accountant = RdpAccountant(orders.tolist())
    accountant.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(sigma)))
    found: Curve = np.array(accountant._rdp)
    return found


@pytest.mark.parametrize(("sigma", "rate"), CASES)
def test_every_order_is_opacuss(sigma: float, rate: float) -> None:
    theirs = np.array([rdp._compute_rdp(rate, sigma, order) for order in ORDERS[USUAL].tolist()])
    np.testing.assert_allclose(curve(sigma, rate)[USUAL], theirs, rtol=1e-6)


@pytest.mark.parametrize(("sigma", "rate"), CASES)
def test_every_order_is_googles_where_theirs_is_exact_and_never_above(sigma: float, rate: float) -> None:
    """Between whole orders theirs adds up what has a minus sign too: a bound, and a loose one."""
    np.testing.assert_allclose(curve(sigma, rate)[WHOLE], google(sigma, rate, ORDERS[WHOLE]), rtol=1e-6)
    assert (curve(sigma, rate)[BETWEEN] <= google(sigma, rate, ORDERS[BETWEEN]) * (1 + 1e-9)).all()


@pytest.mark.parametrize(("sigma", "rate"), [(1.0, 0.1), (0.7, 0.5), (5.0, 0.01), (40.0, 0.3)])
def test_order_two_in_closed_form(sigma: float, rate: float) -> None:
    """A_2 = 1 + q² (exp(1/σ²) − 1)."""
    two = ORDERS.tolist().index(2.0)
    assert curve(sigma, rate)[two] == pytest.approx(math.log1p(rate**2 * math.expm1(sigma**-2)), rel=1e-8)


def exact(sigma: float, rate: float, order: int) -> Decimal:
    """log A_α ÷ (α − 1) by the binomial sum of Mironov, Talwar, Zhang 2019, section 3.3, in 60 digits."""
    with localcontext(prec=60):
        q, variance = Decimal(rate), 2 * Decimal(sigma) ** 2
        terms = (
            math.comb(order, k) * (1 - q) ** (order - k) * q**k * (Decimal(k * k - k) / variance).exp()
            for k in range(order + 1)
        )
        return sum(terms, Decimal(0)).ln() / (order - 1)


@settings(deadline=None, max_examples=100)
@given(sigma=st.floats(0.1, 1000.0), rate=st.floats(1e-6, 0.999999), order=st.integers(2, 63))
def test_never_below_the_truth_and_no_further_above_than_promised(sigma: float, rate: float, order: int) -> None:
    found, truth = float(curve(sigma, rate)[order == ORDERS][0]), exact(sigma, rate, order)
    assert Decimal(found) >= truth * (1 - Decimal("1e-15"))
    assert Decimal(found) <= truth * (1 + Decimal("1e-13")) + Decimal("1e-13") / (order - 1)


@pytest.mark.parametrize("sigma", [1e-3, 0.5, 7.0, 1e6])
def test_without_sampling_it_is_the_gaussian_mechanism(sigma: float) -> None:
    np.testing.assert_array_equal(curve(sigma, 1.0), ORDERS / 2 / sigma / sigma)


def classic(total: Curve, delta: float) -> float:
    """The conversion that papers used before 2020 (Mironov 2017, proposition 3)."""
    return float((total - math.log(delta) / (ORDERS - 1)).min())


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "published"),
    [
        (4.0, 0.01, 10_000, 1.26),  # Abadi et al. 2016, section 3.2: q = 0.01, σ = 4, 100 epochs
        (1.12, 256 / 60_000, 60 * 60_000 // 256, 2.92),  # TensorFlow Privacy's compute_dp_sgd_privacy, its example
    ],
)
def test_published_values_by_the_conversion_of_their_day(
    sigma: float, rate: float, steps: int, published: float
) -> None:
    assert round(classic(steps * curve(sigma, rate), DELTA), 2) == published
    assert epsilon_of(steps * curve(sigma, rate), DELTA) < published


def test_a_published_value_of_today() -> None:
    """JAX Privacy, analysis_test.py: 2.27535 by RDP on Google's orders, of which ours are more."""
    found = epsilon_of(10_000 * curve(4.0, 1024 / 50_000), DELTA)
    assert found <= 2.27535
    assert found == pytest.approx(2.27535, rel=1e-3)


@pytest.mark.parametrize(("sigma", "rate"), CASES)
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_the_conversion_is_opacuss(sigma: float, rate: float, delta: float) -> None:
    total = 100 * curve(sigma, rate)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order")
        theirs, _ = rdp.get_privacy_spent(orders=ORDERS.tolist(), rdp=total, delta=delta)
    assert epsilon_of(total, delta) == pytest.approx(max(0.0, float(theirs)), rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(sigma=sigmas, rate=rates, steps=counts, delta=deltas, more=st.floats(1.001, 10.0))
def test_epsilon_moves_one_way_with_every_argument(
    sigma: float, rate: float, steps: int, delta: float, more: float
) -> None:
    """More noise or δ: no larger; more steps or a higher rate: no smaller; always a number."""
    found = epsilon_of(steps * curve(sigma, rate), delta)
    slack = 1e-9 * (1 + found)
    assert 0 <= found < math.inf
    assert epsilon_of(steps * curve(sigma * more, rate), delta) <= found + slack
    assert epsilon_of(steps * curve(sigma, rate), min(0.9, delta * more)) <= found + slack
    assert epsilon_of((steps + 1) * curve(sigma, rate), delta) >= found
    assert epsilon_of(steps * curve(sigma, min(1.0, rate * more)), delta) >= found - slack


@settings(deadline=None, max_examples=60)
@given(sigma=sigmas, rate=rates)
def test_a_curve_grows_with_the_order_and_stays_below_the_unsampled(sigma: float, rate: float) -> None:
    found = curve(sigma, rate)
    assert (found > 0).all()
    assert (found <= ORDERS / 2 / sigma / sigma).all()
    assert (np.diff(found) >= -2e-13).all()


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 0.02, 1e4, 1e8])
@pytest.mark.parametrize("rate", [1e-9, 0.5, 1 - 1e-12])
def test_at_the_edges_there_is_still_a_bound(sigma: float, rate: float) -> None:
    found = epsilon_of(curve(sigma, rate), 1e-10)
    assert 0 <= found < math.inf


@pytest.mark.parametrize(("sigma", "rate"), [(0.0, 0.1), (-1.0, 0.1), (math.inf, 0.1), (math.nan, 0.1), (1.0, 0.0)])
def test_what_is_no_mechanism_has_no_curve(sigma: float, rate: float) -> None:
    with pytest.raises(ValueError, match="expected noise above 0"):
        curve(sigma, rate)
    with pytest.raises(ValueError, match="rate in"):
        curve(1.0, 1.1)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_what_is_no_delta_has_no_epsilon(delta: float) -> None:
    with pytest.raises(ValueError, match="expected a delta"):
        epsilon_of(curve(1.0, 0.1), delta)


def test_a_curve_cannot_be_changed_by_who_uses_it() -> None:
    with pytest.raises(ValueError, match="read-only"):
        curve(1.0, 0.1)[0] = 0.0


@settings(deadline=None, max_examples=40)
@given(
    epsilon=st.floats(0.05, 50.0),
    delta=st.floats(1e-9, 1e-2),
    rate=st.one_of(st.floats(1e-4, 1.0), st.just(1.0)),
    steps=st.integers(1, 10_000),
)
def test_the_least_noise_meets_its_target_from_below_and_wastes_nothing(
    epsilon: float, delta: float, rate: float, steps: int
) -> None:
    sigma = least_noise(epsilon, delta, rate, steps)
    if sigma is None:
        assert epsilon_of(steps * curve(MOST_NOISE, rate), delta) > epsilon
        return
    assert epsilon_of(steps * curve(sigma, rate), delta) <= epsilon
    less = sigma * (1 - 1.2e-4)
    assert less < LEAST_NOISE or epsilon_of(steps * curve(less, rate), delta) > epsilon
    assert sigma == float(f"{sigma:.5g}")
