import numpy as np
import pytest

from shared.differences import Differences, Mean, mean_interval
from shared.errors import OperatorError


def sums(predicted: object, true: object, patients: object = None) -> Differences:
    p, y = np.array(predicted, np.float64), np.array(true, np.float64)
    return Differences.of(p, y, np.arange(len(p)) if patients is None else np.array(patients))


def added(*parts: Differences) -> Differences:
    return Differences.from_integers([sum(values) for values in zip(*(p.to_integers() for p in parts), strict=True)])


def test_errors_by_hand() -> None:
    found = sums([0.5, 0.25, 1.0], [0.25, 0.5, 0.5])
    assert found.absolute.value == pytest.approx(1 / 3, abs=1e-6)
    assert found.square.value == pytest.approx((2 * 0.0625 + 0.25) / 3, abs=1e-6)
    assert found.bias.value == pytest.approx(0.5 / 3, abs=1e-6)
    assert found.spread == pytest.approx(np.std([0.25, -0.25, 0.5]), abs=1e-6)


def test_agreement_is_numpys() -> None:
    rng = np.random.default_rng(0)
    true = rng.random(500)
    predicted = np.clip(true + 0.1 * rng.normal(size=500), 0, 1)
    found = sums(predicted, true)
    assert found.correlation(within=False) == pytest.approx(np.corrcoef(predicted, true)[0, 1], abs=1e-5)
    expected = 1 - ((predicted - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    assert found.determination(within=False) == pytest.approx(expected, abs=1e-5)
    assert found.determination(within=True) == pytest.approx(expected, abs=1e-5), "one hospital is all of them"
    assert found.quantile(0.5) == pytest.approx(np.median(np.abs(predicted - true)), abs=0.01)


def test_hospitals_that_differ_cannot_pass_for_skill() -> None:
    """Each hospital's values are guessed by its mean: perfect correlation of means, none inside."""
    rng = np.random.default_rng(1)
    parts = []
    for centre in (0.2, 0.8):
        true = centre + 0.05 * rng.normal(size=400)
        parts.append(sums(centre + 0.05 * rng.normal(size=400), true))
    found = added(*parts)
    assert found.correlation(within=False) > 0.9
    assert found.determination(within=False) > 0.9
    assert abs(found.correlation(within=True)) < 0.1
    assert found.determination(within=True) < 0


def test_an_interval_counts_patients() -> None:
    rng = np.random.default_rng(2)
    owner = np.arange(100).repeat(6)
    true = rng.random(600)
    predicted = np.clip(true + (0.1 * rng.normal(size=100))[owner] + 0.02 * rng.normal(size=600), 0, 1)
    found = sums(predicted, true, owner)
    errors = np.abs(predicted - true).reshape(100, 6)
    drawn = [errors[rng.integers(0, 100, 100)].mean() for _ in range(500)]
    low, high = mean_interval(found.absolute)
    assert (high - low) / np.ptp(np.quantile(drawn, [0.025, 0.975])) == pytest.approx(1, abs=0.15)
    assert sums(predicted, true).absolute.deviation < found.absolute.deviation / 1.8


def test_values_beyond_the_range_are_held_and_counted() -> None:
    found = sums([0.5, 0.5], [-3.0, 1.0])
    assert found.outside == 1
    assert found.absolute.value == pytest.approx(0.5, abs=1e-6)


def test_one_patient_alone_has_no_deviation() -> None:
    assert np.isnan(sums([0.5, 0.6], [0.5, 0.5], [0, 0]).absolute.deviation)
    assert Differences.from_integers([0] * Differences.LENGTH).absolute == pytest.approx(
        Mean(float("nan"), float("nan")), nan_ok=True
    )


def test_sums_of_more_than_the_images_are_refused() -> None:
    values = sums([0.5], [0.25]).to_integers()
    with pytest.raises(OperatorError):
        Differences.from_integers([*values[:2], 2**30, *values[3:]])
