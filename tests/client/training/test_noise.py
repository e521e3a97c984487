import numpy as np
import pytest
from scipy.stats import kstest

from client.training.noise import GRID_BITS, SecureStream, add_noise, poisson_sample
from shared.errors import MisuseError


def test_uniform_numbers_are_uniform_and_never_at_the_ends() -> None:
    made = SecureStream().uniform(200_000)
    assert made.min() > 0 and made.max() < 1
    assert kstest(made, "uniform").pvalue > 1e-6


def test_normal_numbers_have_the_moments_and_shape_of_a_normal() -> None:
    made = SecureStream().normal(200_001)
    assert len(made) == 200_001
    assert abs(made.mean()) < 6 / np.sqrt(len(made))
    assert abs(made.var() - 1) < 6 * np.sqrt(2 / len(made))
    assert abs((made**4).mean() - 3) < 6 * np.sqrt(96 / len(made))
    assert kstest(made, "norm").pvalue > 1e-6


def test_neighbouring_numbers_are_uncorrelated() -> None:
    made = SecureStream().normal(100_000)
    for lag in (1, 2, 50_000):
        assert abs((made[lag:] * made[:-lag]).mean()) < 6 / np.sqrt(len(made) - lag)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_small_counts(count: int) -> None:
    assert SecureStream().normal(count).shape == (count,)


def test_no_two_streams_are_alike_and_seeds_have_no_say() -> None:
    np.random.seed(0)
    first = SecureStream().normal(8)
    np.random.seed(0)
    assert not np.array_equal(first, SecureStream().normal(8))


def test_poisson_sampling_draws_each_patient_at_the_rate() -> None:
    stream = SecureStream()
    drawn = np.bincount(np.concatenate([poisson_sample(10, 0.3, stream) for _ in range(20_000)]), minlength=10)
    assert np.abs(drawn / 20_000 - 0.3).max() < 6 * np.sqrt(0.21 / 20_000)
    assert poisson_sample(5, 1.0, stream).tolist() == [0, 1, 2, 3, 4]
    assert poisson_sample(0, 0.5, stream).tolist() == []
    with pytest.raises(MisuseError):
        poisson_sample(5, 1.5, stream)


def test_noise_has_the_deviation_sigma_times_clip_and_lies_on_the_grid() -> None:
    total = np.full(100_000, 7.0)
    noisy = add_noise(total, clip=0.5, sigma=3.0, stream=SecureStream())
    assert kstest((noisy - 7.0) / 1.5, "norm").pvalue > 1e-6
    assert (np.mod(noisy, 2.0**-GRID_BITS) == 0).all()
    assert (total == 7.0).all()


@pytest.mark.parametrize(("clip", "sigma"), [(1.0, 0.0), (1.0, -1.0), (np.inf, 1.0), (1.0, np.nan)])
def test_no_noise_is_refused(clip: float, sigma: float) -> None:
    with pytest.raises(MisuseError, match="above 0"):
        add_noise(np.zeros(2), clip, sigma, SecureStream())


def test_a_sum_that_is_not_finite_never_leaves() -> None:
    with pytest.raises(MisuseError):
        add_noise(np.array([0.0, np.nan]), 1.0, 1.0, SecureStream())
