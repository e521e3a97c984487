import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, kstest, norm

from client.privacy.gaussian import CHUNK, digits
from client.privacy.release import as_words, release
from client.privacy.stream import SecureStream
from shared.errors import MisuseError, SiteError
from shared.mechanism import Mechanism
from tests.client.privacy.float_attack import guess, naive_noise
from tests.client.privacy.known import Silent

RARE = 1e-7
ALONE = Mechanism(clip=1.0, noise_multiplier=1.0, entries=100_000, honest=1, sites=1)
VALUES = [(0.0, 1.0), (0.0, 2.0**-10), (0.3, 0.301)]
TRIALS = 30


def released(total: NDArray[np.float64], mechanism: Mechanism) -> NDArray[np.int64]:
    return release(total, mechanism, SecureStream())


@settings(deadline=None)
@given(st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=20))
def test_integers_are_rounded_and_clamped_sums(total: list[float]) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=len(total), honest=1, sites=3)
    expected = [round(Fraction(number) / Fraction(mechanism.grid)) for number in total]  # half to even
    limit = mechanism.limit
    made = release(np.array(total), mechanism, Silent())
    assert made.tolist() == [max(-limit, min(limit, integer)) for integer in expected]


def test_what_is_added_is_noise_of_the_mechanisms_deviation() -> None:
    total = np.linspace(-1, 1, ALONE.entries)
    before = total.copy()
    noise = released(total, ALONE) - np.rint(total / ALONE.grid)
    assert kstest(noise / ALONE.deviation, "norm").pvalue > RARE
    assert abs(noise.std() / ALONE.deviation - 1) < 5.4 / np.sqrt(2 * len(noise))
    assert np.array_equal(total, before)


def test_an_empty_step_gets_the_same_noise() -> None:
    noise = released(np.zeros(ALONE.entries), ALONE) / ALONE.deviation
    assert kstest(noise, "norm").pvalue > RARE


def test_every_call_has_noise_of_its_own() -> None:
    stream, total = SecureStream(), np.zeros(ALONE.entries)
    made = [release(total, ALONE, stream), release(total, ALONE, stream), release(total, ALONE, SecureStream())]
    for one, other in itertools.combinations(made, 2):
        assert abs((one - other).std() / ALONE.deviation / np.sqrt(2) - 1) < 5.4 / np.sqrt(2 * len(total))
        assert abs(np.corrcoef(one, other)[0, 1]) < 5.4 / np.sqrt(len(total))


@pytest.mark.parametrize("entries", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
def test_every_entry_stays_in_its_place(entries: int) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=0.01, entries=entries, honest=1, sites=1)
    total = np.sin(np.arange(entries)) * 3
    made = released(total, mechanism)
    assert made.shape == (entries,) and made.dtype == np.int64
    assert np.abs(made - total / mechanism.grid).max() < 8 * mechanism.deviation


def test_a_sum_beyond_the_limit_is_clamped_before_the_noise_and_cannot_wrap() -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=4, honest=2, sites=3)
    total = np.array([1e30, -1e30, 7.0, 0.0])
    words = as_words(np.sum([released(total, mechanism) for _ in range(3)], axis=0))
    most, noise = 3 * mechanism.limit * mechanism.grid, 8 * mechanism.deviation * mechanism.grid * np.sqrt(3)
    assert np.abs(mechanism.decode(words) - [most, -most, 21.0, 0.0]).max() < noise


def test_shares_of_the_honest_add_up_to_the_whole_noise() -> None:
    mechanism = Mechanism(clip=0.5, noise_multiplier=2.0, entries=50_000, honest=3, sites=5)
    shares = np.sum([released(np.zeros(mechanism.entries), mechanism) for _ in range(mechanism.honest)], axis=0)
    seen = mechanism.decode(as_words(shares)).std()
    assert 1 - 5.4 / np.sqrt(100_000) < seen / (2.0 * 0.5) < 1.003 + 5.4 / np.sqrt(100_000)


def test_two_hundred_hospitals_add_up_over_the_masks() -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=50, honest=101, sites=200)
    totals = np.random.default_rng(1).normal(0, 3, (200, 50)) - 2
    summed = np.zeros(50, np.uint32)
    for total in totals:
        summed += as_words(released(total, mechanism))  # mod 2^32, as under masks
    noise = mechanism.deviation * mechanism.grid * np.sqrt(200)
    assert (totals.sum(axis=0) < -100).all()
    assert np.abs(mechanism.decode(summed) - totals.sum(axis=0)).max() < 7 * noise


@settings(deadline=None)
@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20))
def test_words_are_the_integers_mod_two_to_the_32(integers: list[int]) -> None:
    words = as_words(np.array(integers, np.int64))
    assert words.dtype == np.uint32
    assert words.tolist() == [integer % 2**32 for integer in integers]
    assert as_words(np.array(integers, np.int64) + 2**32).tolist() == words.tolist()
    assert (ALONE.decode(words) / ALONE.grid).tolist() == integers


@pytest.mark.parametrize("total", [np.zeros(3), np.zeros((4, 1)), np.zeros(4, np.float32), np.zeros(4, np.int64)])
def test_another_shape_or_type_is_refused(total: NDArray[np.float64]) -> None:
    with pytest.raises(MisuseError, match=r"float64 \[4\]"):
        released(total, Mechanism(clip=1.0, noise_multiplier=1.0, entries=4, honest=1, sites=1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sum_that_is_not_finite_never_leaves_and_the_message_tells_nothing_of_it(bad: float) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=4, honest=1, sites=1)
    with pytest.raises(SiteError) as caught:
        released(np.array([0.5, bad, 0.25, 0.125]), mechanism)
    with pytest.raises(SiteError) as other:
        released(np.array([np.nan, np.inf, 0.0, 0.0]), mechanism)
    assert str(caught.value) == str(other.value)


@pytest.mark.parametrize("values", VALUES)
def test_floats_give_the_value_away(values: tuple[float, float]) -> None:
    """The attack is real: against noise made of floats it is right every time, however close the two values."""
    for value in values:
        assert all(guess(value + naive_noise(16), values) == value for _ in range(TRIALS))


@pytest.mark.parametrize("values", VALUES)
def test_the_attack_finds_nothing_in_a_release(values: tuple[float, float]) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=32, honest=1, sites=1)
    for value in values:
        for _ in range(TRIALS):
            seen = mechanism.decode(as_words(released(np.full(32, value), mechanism)))
            assert guess(seen.reshape(2, 16), values) is None


def reachable(noise: int, deviation: float) -> bool:
    """Whether the sampler can give `noise`: in its base, with digits nearest to 0, each is within 8 deviations."""
    base, variances = digits(deviation)
    for variance in reversed(variances[1:]):
        digit = (noise + base // 2) % base - base // 2
        if digit**2 > 64 * variance:
            return False
        noise = (noise - digit) // base
    return noise**2 <= 64 * variances[0]


@pytest.mark.parametrize("values", VALUES)
def test_whatever_is_released_can_come_from_either_value(values: tuple[float, float]) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=2000, honest=1, sites=1)
    for value in values:
        seen = mechanism.decode(as_words(released(np.full(2000, value), mechanism)))
        integers = seen / mechanism.grid
        assert np.array_equal(integers, np.rint(integers))
        for guessed in values:
            noise = integers - np.rint(guessed / mechanism.grid)
            assert all(reachable(int(n), mechanism.deviation) for n in noise)


@pytest.mark.parametrize("modulus", [2, 3, 16, 37, 1024])
def test_low_bits_are_alike_for_either_value(modulus: int) -> None:
    counts = [
        np.bincount(released(np.full(ALONE.entries, value), ALONE) % modulus, minlength=modulus) for value in (0.0, 0.7)
    ]
    assert chi2_contingency(np.array(counts)).pvalue > RARE


def test_the_best_guess_is_right_as_often_as_the_noise_allows_and_no_more() -> None:
    """Between 0 and the clip, in one entry, the midpoint parts best (Neyman and Pearson): Φ(1 ÷ 2σ) of the time."""
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=1, honest=1, sites=1)
    stream, times = SecureStream(), 2000
    right = sum(release(np.array([1.0]), mechanism, stream)[0] > 0.5 / mechanism.grid for _ in range(times))
    right += sum(release(np.array([0.0]), mechanism, stream)[0] < 0.5 / mechanism.grid for _ in range(times))
    assert abs(right / (2 * times) - norm.cdf(0.5)) < 5.4 * 0.5 / np.sqrt(2 * times) + 0.001
