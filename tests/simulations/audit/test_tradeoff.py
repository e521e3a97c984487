"""The bound on whole curves: against a linear program over all chances, against randomised response, and in power."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import binom

from simulations.audit.auditor import EACH, SHARES, Auditor
from simulations.audit.curve import Curve, curve_of
from simulations.audit.guesses import Guesses
from simulations.audit.tradeoff import contradicted, least_refuted

CURVES = [
    Curve(np.array([1.0]), np.array([0.0])),
    Curve(np.array([0.5]), np.array([0.01])),
    Curve(np.array([0.0, 0.4, 1.0, 2.0]), np.array([0.38, 0.28, 0.13, 0.02])),
]


def most_likely(curve: Curve, canaries: int, made: int, right: int) -> float:
    """The largest chance of at least `right` right guesses that the inequalities of the module's docstring leave."""
    counts = np.arange(made + 1)
    rows, limits = [], []
    for first in range(1, made + 1):
        gained = np.where(counts >= first, counts, 0) / canaries
        lost = np.where((counts >= first - 1) & (counts < made), made - counts, 0) / canaries
        for epsilon, delta in zip(curve.epsilons, curve.deltas, strict=True):
            # lost ≥ (gained − δ) e^−ε, and lost ≥ 1 − δ − e^ε (1 − gained)
            rows += [gained * math.exp(-epsilon) - lost, gained * math.exp(epsilon) - lost]
            limits += [delta * math.exp(-epsilon), delta + math.exp(epsilon) - 1]
    found = linprog(
        -(counts >= right).astype(float), A_ub=np.array(rows), b_ub=np.array(limits),
        A_eq=np.ones((1, made + 1)), b_eq=[1.0], bounds=(0, 1),
    )  # fmt: skip
    assert found.status == 0
    return float(-found.fun)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("canaries", "made", "right"), [(6, 6, 6), (12, 12, 9), (20, 10, 9), (20, 10, 10), (30, 8, 7)])
def test_the_recursion_is_the_linear_program(curve: Curve, canaries: int, made: int, right: int) -> None:
    most = most_likely(curve, canaries, made, right)
    guesses = Guesses(canaries=canaries, made=made, right=right)
    assert not contradicted(guesses, curve, level=0.999 * most)
    assert most > 0.9 or contradicted(guesses, curve, level=1.03 * most)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("made", [50, 500])
def test_randomised_response_alarms_in_5_percent_at_most(epsilon: float, made: int) -> None:
    curve = Curve(np.array([epsilon]), np.array([0.0]))
    alarms = [v for v in range(made + 1) if contradicted(_all(made, v), curve, level=0.05)]
    chance = binom.sf(min(alarms) - 1, made, 1 / (1 + math.exp(-epsilon))) if alarms else 0.0
    assert alarms == list(range(min(alarms, default=made + 1), made + 1))  # more right guesses never take one back
    assert chance <= 0.05
    assert chance > 0.005 or epsilon == 4.0  # and it is no empty bound


def _all(made: int, right: int) -> Guesses:
    return Guesses(canaries=made, made=made, right=right)


def test_perfect_guesses_contradict_any_promise_if_there_are_enough() -> None:
    claim = curve_of(noise_multiplier=0.65, sampling_rate=1.0, steps=1)  # ε = 7.3
    assert contradicted(_all(4096, 4096), claim, level=0.05)
    assert not contradicted(_all(4, 4), claim, level=0.05)


def test_no_guess_contradicts_nothing() -> None:
    assert not contradicted(Guesses(canaries=9, made=0, right=0), CURVES[0], level=0.05)
    assert not contradicted(_all(100, 0), CURVES[0], level=0.05)


def experiment(sigma: float, true: float, rng: np.random.Generator) -> tuple[Guesses, ...]:
    """One audit of 5 steps at rate ½ and noise `true`, where `sigma` is promised."""
    planted = rng.random(400) < 0.5
    auditor = Auditor(np.arange(400), 0.5)
    for _ in range(5):
        drawn = np.concatenate([planted & (rng.random(400) < 0.5), np.zeros(400)])
        auditor.see(drawn + true * rng.standard_normal(800))
    return auditor.judged(planted)


def alarms(guesses: tuple[Guesses, ...], claim: Curve) -> bool:
    return any(contradicted(each, claim, level=EACH) for each in guesses)


def test_an_honest_mechanism_rarely_alarms_and_less_noise_does() -> None:
    claim = curve_of(noise_multiplier=2.0, sampling_rate=0.5, steps=5)
    honest = sum(alarms(experiment(2.0, 2.0, np.random.default_rng(seed)), claim) for seed in range(200))
    assert honest <= 10 + 20  # of 200, each with a chance of 5 % at most: P[X > 30] < 10^-6
    assert all(alarms(experiment(2.0, true, np.random.default_rng(1)), claim) for true in (0.5, 0.1, 1e-6))


def test_the_noise_refuted_lies_above_the_true_one() -> None:
    guesses = experiment(2.0, 2.0, np.random.default_rng(3))
    refuted = least_refuted(guesses, sampling_rate=0.5, steps=5, claimed=2.0, level=EACH)
    assert 2.0 < refuted < 8.0
    assert len(guesses) == len(SHARES)


def test_guesses_that_prove_nothing_refute_no_noise() -> None:
    assert least_refuted([_all(100, 50)], sampling_rate=1.0, steps=1, claimed=1.0, level=EACH) == math.inf
