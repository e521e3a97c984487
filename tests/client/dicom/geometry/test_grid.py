"""Regular or not: tiny sets of points."""

import numpy as np
import pytest

from client.dicom.geometry.grid import fit, places
from client.dicom.reasons import Reason

UP = np.array([0.0, 0.0, 1.0])


def reason_of(heights: list[float]) -> Reason | None:
    return fit(np.array([[7.0, 8.0, z] for z in heights]), UP).reason


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ([0, 2], None),
        ([0, 2, 4, 6], None),
        ([0, 2.04, 3.96, 6], None),  # within 5 % of the distance
        ([0, 2.16, 4, 6], Reason.UNEVEN_SLICES),
        ([0, 2, 4, 8, 10], Reason.MISSING_SLICES),
        ([0, 2, 4, 14, 16], Reason.MISSING_SLICES),
        ([0, 4, 6, 8], Reason.MISSING_SLICES),
        ([0, 2, 4, 7, 9], Reason.UNEVEN_SLICES),
        ([0, 2, 2, 4], Reason.SAME_POSITION),
        ([0, 2, 2.004, 4], Reason.SAME_POSITION),
        ([3, 3], Reason.SAME_POSITION),
        ([3], Reason.TOO_FEW_SLICES),
    ],
)
def test_the_reason(heights: list[float], reason: Reason | None) -> None:
    assert reason_of(heights) is reason


def test_one_slice_missing_of_a_thousand_is_found() -> None:
    for missing in (1, 499, 998):
        assert reason_of([float(z) for z in range(1000) if z != missing]) is Reason.MISSING_SLICES


def test_a_slow_drift_is_uneven() -> None:
    # each gap is within the tolerance, their sum is not
    assert reason_of(list(np.cumsum(np.linspace(2.0, 2.1, 50)))) is Reason.UNEVEN_SLICES


def test_the_step_runs_from_end_to_end() -> None:
    found = fit(np.array([[0.0, 0, 0], [0.3, 0, 1], [0.6, 0, 2.02], [0.9, 0, 3]]), UP)
    assert found.reason is None
    np.testing.assert_allclose(found.step, (0.3, 0, 1))
    assert found.distance == pytest.approx(1.0)
    assert found.tilt == pytest.approx(np.degrees(np.arctan(0.3)))


def test_a_slice_beside_the_line_is_uneven() -> None:
    assert fit(np.array([[0.0, 0, 0], [0.2, 0, 1], [0, 0, 2]]), UP).reason is Reason.UNEVEN_SLICES


def test_a_lone_slice_has_a_step_of_one_mm() -> None:
    found = fit(np.array([[5.0, 6.0, 7.0]]), UP)
    assert (found.step.tolist(), found.distance, found.tilt) == ([0, 0, 1], 1.0, 0.0)


@pytest.mark.parametrize(("across", "reason"), [(0.9, None), (1.0, None), (1.1, Reason.UNEVEN_SLICES)])
def test_a_step_beyond_45_degrees_is_none(across: float, reason: Reason | None) -> None:
    found = fit(np.array([[across * z, 0, z] for z in range(4)], dtype=np.float64), UP)
    assert found.reason is reason
    assert found.tilt == pytest.approx(np.degrees(np.arctan(across)))


def test_a_table_that_moved_a_little_between_repeats_came_to_the_same_places() -> None:
    moved = np.array([0.0, 0.01, 0.02, 2.0, 2.01, 2.02, 4.0, 4.01, 4.02])
    assert places(moved).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert reason_of(moved.tolist()) is Reason.SAME_POSITION
    assert places(moved[[4, 0, 7]]).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "distances",
    [
        [0.0, 2.0, 2.01, 4.0],  # not every place repeats
        [0.0, 0.01, 0.5, 0.51],  # 0.01 mm is not little for the distance of these slices
        [0.0, 0.06, 2.0, 2.06],  # more than a table is out by
        [0.0, 0.01],  # nothing says that it is a repeat
    ],
)
def test_what_lies_apart_is_not_the_same_place(distances: list[float]) -> None:
    assert places(np.array(distances)).tolist() == list(range(len(distances)))


def test_places_grow_with_the_distance() -> None:
    assert places(np.array([4.0, 2.0, 4.001, 9.0, 2.0])).tolist() == [1, 0, 1, 2, 0]
    assert places(np.array([4.0])).tolist() == [0]
    assert places(np.array([0.0, 0.011, 0.022])).tolist() == [0, 1, 2]  # as dense as slices of the retina
