"""Raw values → checked ones, or None."""

import hashlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.dicom.geometry.frame import PHASE
from client.dicom.geometry.values import directions, moved, normal_of, number, phase, point, reference, spacing, whole

INVALID: list[Any] = [None, "", "1", b"1", 1.0, (), (1.0, 2.0), ("a", "b", "c"), (1, 2, math.nan), (1, 2, math.inf)]


def test_a_point() -> None:
    assert point(["1.5", -2, 3.0]) == (1.5, -2.0, 3.0)


@pytest.mark.parametrize("value", [*INVALID, (1, 2, 1e6)])
def test_no_point(value: object) -> None:
    assert point(value) is None


def test_directions_get_length_one() -> None:
    found = directions((0.999, 0.035, 0.017, -0.035, 0.999, 0.0))  # three decimals, as some PACSs keep
    assert found is not None
    assert math.hypot(*found[:3]) == pytest.approx(1, abs=1e-15)
    assert math.hypot(*found[3:]) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    "value",
    [
        *INVALID,
        (0, 0, 0, 0, 0, 0),
        (1, 0, 0, 1, 0, 0),  # parallel
        (2, 0, 0, 0, 1, 0),  # too long
        (1, 0, 0, 0.1, 0.995, 0),  # not at a right angle
        (1, 0, 0, 0, 1),
        (math.nan, 0, 0, 0, 1, 0),
    ],
)
def test_no_directions(value: object) -> None:
    assert directions(value) is None


def test_the_first_usable_spacing_counts() -> None:
    assert spacing((0.7, 0.3), (1, 1)) == (0.7, 0.3)
    assert spacing(None, (0.2, 0.1)) == (0.2, 0.1)
    assert spacing((0, 0.3), (-1, 1), (math.nan, 1), (1,), (0.4, 0.5)) == (0.4, 0.5)
    assert spacing(None, 3.0, "0.5") is None


def test_numbers() -> None:
    assert number("2.5") == 2.5
    assert number("x") is None
    assert number(math.inf) is None
    assert (whole("7"), whole(None), whole("1" * 13), whole([1, 2])) == (7, 0, 0, 0)


def test_a_phase_has_a_place_for_each_name() -> None:
    found = phase(image_type=["ORIGINAL", "PRIMARY", "M"], echo_time=2.46, acquisition=3, b_value=None)
    assert len(found) == len(PHASE)
    assert found[PHASE.index("image_type")] == r"ORIGINAL\PRIMARY\M"
    assert found[PHASE.index("echo_time")] == "2.46"
    assert found[PHASE.index("acquisition")] == "3"
    assert found[PHASE.index("b_value")] == ""


def test_a_frame_of_reference_is_told_without_its_uid() -> None:
    assert reference("1.2.840.1") == reference("1.2.840.1\0") == hashlib.sha256(b"1.2.840.1").hexdigest()[:8]
    assert reference("1.2.840.1") != reference("1.2.840.2")
    assert reference(" ") == ""


def test_a_phase_without_a_value_is_nothing() -> None:
    assert phase(temporal=None, stack="", image_type=("",)) == ()


def test_a_phase_is_short() -> None:
    assert max(map(len, phase(image_type=["X" * 16] * 1000))) == 128


@given(st.lists(st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.binary()), max_size=7))
@settings(deadline=None)
def test_anything_gives_a_value_or_none(values: list[object]) -> None:
    found = directions(values)
    assert found is None or all(map(math.isfinite, found))
    assert point(values) is None or len(values) == 3
    assert spacing(values) is None or len(values) == 2


def test_vectors() -> None:
    assert normal_of((0, 1, 0, 0, 0, -1)) == (-1, 0, 0)
    assert moved((1, 2, 3), (2, (1, 0, 0)), (3, (0, 1, 1))) == (3, 5, 6)
