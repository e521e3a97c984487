"""The curve that guesses are held against: Google's accountant and the Gaussian's closed form, from above."""

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy.stats import norm

from simulations.audit.curve import ROUNDING, Curve, curve_of

MECHANISMS = [(1.0, 1.0, 1), (4.0, 1.0, 10), (9.6, 0.3, 60), (1.7, 0.3, 60), (0.8, 0.02, 400), (0.5, 0.1, 3)]


@pytest.mark.parametrize(("sigma", "rate", "steps"), MECHANISMS)
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-8])
def test_against_googles_accountant(sigma: float, rate: float, steps: int, delta: float) -> None:
    one = privacy_loss_distribution.from_gaussian_mechanism(
        sigma, sampling_prob=rate, value_discretization_interval=1e-3
    )
    known = one.self_compose(steps).get_epsilon_for_delta(delta)
    ours = curve_of(noise_multiplier=sigma, sampling_rate=rate, steps=steps).epsilon(delta)
    assert known - 1e-3 * steps - 1e-3 <= ours <= known + 0.02


@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 1), (2.0, 4), (0.4, 1)])
def test_never_below_the_gaussians_own_curve(sigma: float, steps: int) -> None:
    mu = math.sqrt(steps) / sigma  # Balle and Wang 2018, theorem 8
    curve = curve_of(noise_multiplier=sigma, sampling_rate=1.0, steps=steps)
    epsilon = curve.epsilons
    exact, looser = (
        norm.cdf(mu / 2 - e / mu) - np.exp(e) * norm.cdf(-mu / 2 - e / mu) for e in (epsilon, epsilon - ROUNDING)
    )
    assert (curve.deltas >= exact - 1e-12).all()
    assert (curve.deltas <= looser + 1e-9).all()


def test_the_least_chance_is_the_gaussians() -> None:
    curve = curve_of(noise_multiplier=1.0, sampling_rate=1.0, steps=1)
    chance = np.array([0.001, 0.05, 0.5, 0.9, 0.999])
    exact = norm.cdf(norm.ppf(chance) - 1)
    found = curve.least(chance)
    assert (found <= exact + 1e-12).all()
    assert found == pytest.approx(exact, rel=0.01)


def test_the_least_chance_of_one_epsilon() -> None:
    curve = Curve(np.array([math.log(2)]), np.array([0.1]))
    found = curve.least(np.array([0.0, 0.05, 0.3, 0.9, 1.0]))
    assert found == pytest.approx([0.0, 0.0, 0.1, 0.7, 0.9])  # (x − δ) ÷ 2, then 1 − δ − 2 (1 − x)


def test_epsilon_below_the_least_delta_is_unknown() -> None:
    assert Curve(np.array([0.0, 1.0]), np.array([0.5, 0.1])).epsilon(0.05) == math.inf
    assert Curve(np.array([0.0, 1.0]), np.array([0.5, 0.1])).epsilon(0.3) == pytest.approx(0.5)


def test_much_too_little_noise_is_no_overflow() -> None:
    curve = curve_of(noise_multiplier=0.05, sampling_rate=1.0, steps=40)
    assert np.isfinite(curve.deltas).all()
    assert curve.epsilon(1e-5) == math.inf
