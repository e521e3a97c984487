"""What the auditor makes of sums: scores, noise measured where no canary is, guesses fixed in number."""

import numpy as np
import pytest

from simulations.audit.auditor import LEAST_NOISE, SHARES, Auditor
from simulations.audit.guesses import Guesses


def test_without_noise_it_is_right_of_whom_it_is_surest() -> None:
    planted = np.arange(64) % 2 == 0
    auditor = Auditor(np.arange(64) + 50, rate=0.5)
    for step in range(4):
        total = np.zeros(300)
        total[50:114] = planted & (np.arange(64) // 2 % 4 <= step)
        auditor.see(total)
    assert auditor.noise == [LEAST_NOISE] * 4
    assert [guesses.right for guesses in auditor.judged(planted)] == [64, 16, 4]


def test_the_score_is_the_likelihood_ratio() -> None:
    noise = np.tile([-1.0, 1.0], 100)  # quartiles −1 and 1
    auditor = Auditor(np.array([0, 1]), rate=0.25)
    auditor.see(np.concatenate([[0.5, 3.0], noise]))
    sigma = 2 / 1.3490
    assert auditor.noise == pytest.approx([sigma])
    density = np.exp(-(np.array([0.5, 3.0]) ** 2) / 2 / sigma**2), np.exp(-(np.array([-0.5, 2.0]) ** 2) / 2 / sigma**2)
    assert auditor.scores == pytest.approx(np.log((0.75 * density[0] + 0.25 * density[1]) / density[0]))


def test_the_number_of_guesses_is_fixed_beforehand() -> None:
    auditor = Auditor(np.arange(100), rate=1.0)
    auditor.see(np.zeros(200))
    expected = tuple(Guesses(canaries=100, made=round(100 * share), right=0) for share in SHARES)
    assert auditor.judged(np.ones(100, bool)) == expected  # all are called out, and all were in


def test_true_patients_where_no_canary_is_do_not_move_the_noise() -> None:
    total = np.random.default_rng(0).standard_normal(1000)
    quiet, loud = Auditor(np.arange(100), rate=1.0), Auditor(np.arange(100), rate=1.0)
    quiet.see(total)
    total[900:905] += 1e6
    loud.see(total)
    assert loud.noise == pytest.approx(quiet.noise, rel=0.05)


def test_noise_cannot_be_measured_without_blank_coordinates() -> None:
    with pytest.raises(ValueError, match="at least 100 coordinates without a canary, got 50"):
        Auditor(np.arange(100), rate=1.0).see(np.zeros(150))
