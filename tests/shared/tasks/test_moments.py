import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from shared.errors import OperatorError
from shared.tasks.moments import UNIT, Cloud, Moments, frechet, spread_ratio


def cloud(values: np.ndarray) -> Cloud:
    found = Moments(values.shape[1]).read(Moments(values.shape[1]).count(values))
    assert found is not None
    return found


def test_known_normal_distributions_are_as_far_apart_as_they_are() -> None:
    """‖m₁ − m₂‖² + Σ (σ₁ − σ₂)² where the axes are the same."""
    one, two = Cloud(9, np.zeros(2), np.diag([1.0, 4.0])), Cloud(9, np.array([3.0, 4.0]), np.diag([9.0, 4.0]))
    assert frechet(one, two) == pytest.approx(25 + 4)
    assert frechet(two, one) == pytest.approx(29)
    assert frechet(one, one) == pytest.approx(0, abs=1e-12)
    assert spread_ratio(one, two) == pytest.approx(13 / 5)


def test_axes_that_differ_give_what_the_formula_says() -> None:
    rng = np.random.default_rng(3)
    one, two = (Cloud(9, rng.normal(size=4), (a := rng.normal(size=(4, 4))) @ a.T) for _ in range(2))
    root = sqrtm(one.covariance @ two.covariance).real
    expected = ((one.mean - two.mean) ** 2).sum() + np.trace(one.covariance + two.covariance - 2 * root)
    assert frechet(one, two) == pytest.approx(expected, rel=1e-6)


def test_sums_give_back_mean_and_covariance() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.7, (50, 3))
    found = cloud(values)
    assert found.images == 50
    np.testing.assert_allclose(found.mean, values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(values.T), atol=2e-5)


def test_of_few_images_there_are_fewer_axes_than_features_and_still_a_distance() -> None:
    rng = np.random.default_rng(1)
    one, two = cloud(rng.normal(size=(3, 8))), cloud(rng.normal(1, 1, size=(3, 8)))
    assert math.isfinite(frechet(one, two))
    assert frechet(one, two) > 0


def test_of_one_image_there_is_no_cloud() -> None:
    moments = Moments(2)
    assert moments.read([0] * moments.counts) is None
    assert moments.read(moments.count(np.zeros((1, 2)))) is None


@pytest.mark.parametrize(("place", "value"), [(0, 0), (1, 3 * UNIT), (3, 0), (2, -1), (0, 1 << 60)])
def test_sums_that_nobody_can_have_sent_are_refused(place: int, value: int) -> None:
    moments = Moments(2)
    values = moments.count(np.ones((2, 2)))
    values[place] = value
    with pytest.raises(OperatorError):
        moments.read(values)
