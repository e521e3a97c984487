import math

import numpy as np
import pytest

from shared.errors import OperatorError
from shared.tasks.means import UNIT, Means

MEANS = Means(((0.0, 10.0), (-1.0, 1.0)))


def test_a_patient_counts_once_however_many_images() -> None:
    found = MEANS.read(MEANS.count(np.array([[2.0, 0], [4, 0], [6, 1]]), np.array([7, 7, 3])))
    assert (found.images, found.patients) == (3, 2)
    assert found.mean(0) == pytest.approx(4.5, abs=1e-5)  # (3 + 6) / 2
    assert found.mean(1) == pytest.approx(0.5, abs=1e-5)


def test_the_interval_is_that_of_the_deviation_between_patients() -> None:
    found = MEANS.read(MEANS.count(np.array([[3.0, 0], [4, 0], [5, 0]]), np.arange(3)))
    margin = 4.302653 / math.sqrt(3)  # deviation 1, of three patients
    assert found.interval(0) == pytest.approx((4 - margin, 4 + margin), abs=1e-4)
    assert found.figure(1, "zero", "Zero").low == pytest.approx(0, abs=1e-2)


def test_sums_of_hospitals_are_the_counts_of_all() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (9, 2))
    one, two = MEANS.count(values[:4], np.arange(4)), MEANS.count(values[4:], np.arange(5))
    both = [a + b for a, b in zip(one, two, strict=True)]
    assert both == pytest.approx(MEANS.count(values, np.arange(9)), abs=1)  # every hospital rounds once


@pytest.mark.parametrize("mean", [1e-1, 1e-2, 1e-3, 1e-4])
def test_small_values_in_a_wide_range_have_the_interval_of_their_deviation(mean: float) -> None:
    values = mean * (1 + 0.3 * np.random.default_rng(0).normal(size=80))[:, None]
    share = Means(((0.0, 1.0),))
    parts = [share.count(part, np.arange(len(part))) for part in np.array_split(values, 4)]
    low, high = share.read([sum(part) for part in zip(*parts, strict=True)]).interval(0)
    margin = 1.990450 * float(values.std(ddof=1)) / math.sqrt(80)
    assert high - low == pytest.approx(2 * margin, rel=0.02)


def test_many_patients_of_the_largest_value_fit_into_a_count() -> None:
    assert max(Means(((0.0, 1.0),)).count(np.ones((200_000, 1)), np.arange(200_000))) < 2**47


def test_what_is_outside_its_range_is_taken_for_the_end() -> None:
    found = MEANS.read(MEANS.count(np.array([[-5.0, math.inf], [99.0, math.nan]]), np.arange(2)))
    assert found.mean(0) == pytest.approx(5.0)
    assert found.mean(1) == pytest.approx(0.5)


def test_of_one_patient_there_is_no_interval_and_of_nobody_no_mean() -> None:
    one, nobody = MEANS.read(MEANS.count(np.ones((2, 2)), np.zeros(2, int))), MEANS.read([0] * MEANS.counts)
    assert one.figure(0, "x", "X").low is None
    assert one.figure(0, "x", "X").value == pytest.approx(1.0, abs=1e-5)
    assert nobody.figure(0, "x", "X").value is None


@pytest.mark.parametrize(
    ("place", "value"), [(0, 1), (0, 0), (1, 0), (2, 4 * UNIT), (2, -1), (4, 3 * UNIT), (4, 0), (0, 1 << 60)]
)
def test_sums_that_nobody_can_have_sent_are_refused(place: int, value: int) -> None:
    values = MEANS.count(np.array([[2.0, 0], [4, 0], [6, 0]]), np.arange(3))
    values[place] = value
    with pytest.raises(OperatorError):
        MEANS.read(values)
