"""What is told apart even where all slices together are even, and what only counts."""

from typing import Any

import pytest
from msgspec.structs import replace

from client.dicom.geometry.stacks import stacks
from client.dicom.reasons import Reason
from tests.client.dicom.geometry.series import axial as frame
from tests.client.dicom.geometry.test_stacks import members, reasons

CONTRASTS: list[dict[str, Any]] = [
    {"image_type": [r"DERIVED\PRIMARY\F", r"DERIVED\PRIMARY\W"]},
    {"echo_time": [10, 30]},
    {"b_value": [0, 1000]},
    {"gradient": [(0, 1, 0), (1, 0, 0)]},
    {"temporal": [1, 2]},
]


@pytest.mark.parametrize("values", CONTRASTS, ids=lambda values: next(iter(values)))
def test_contrasts_are_volumes_even_if_all_slices_together_are_even(values: dict[str, Any]) -> None:
    ((name, (first, second)),) = values.items()
    interleaved = [frame(z, **{name: (first, second)[z % 2]}) for z in range(8)]
    assert members(stacks(interleaved)) == [(0, 2, 4, 6), (1, 3, 5, 7)]
    one_above_the_other = [frame(z, **{name: first if z < 4 else second}) for z in range(8)]
    found = stacks(one_above_the_other)
    assert (members(found), reasons(found)) == ([(0, 1, 2, 3), (4, 5, 6, 7)], [None, None])


@pytest.mark.parametrize("values", CONTRASTS, ids=lambda values: next(iter(values)))
def test_two_slices_of_different_contrast_are_no_volume(values: dict[str, Any]) -> None:
    ((name, pair),) = values.items()
    found = stacks([frame(z, **{name: value}) for z, value in enumerate(pair)])
    assert (members(found), reasons(found)) == ([(0,), (1,)], [Reason.TOO_FEW_SLICES] * 2)


@pytest.mark.parametrize(
    "name",
    ["temporal", "trigger", "acquisition", "inversion_time", "flip_angle", "acquisition_time", "reference_time"],
)
def test_a_value_of_each_slice_counts_slices(name: str) -> None:
    assert reasons(stacks([frame(z, **{name: 100 + z}) for z in range(6)])) == [None]


@pytest.mark.parametrize("name", ["trigger", "acquisition", "inversion_time", "acquisition_time", "reference_time"])
def test_shots_of_some_slices_each_are_one_volume(name: str) -> None:
    # several slices at a time, evenly spread: those of one shot would be even by themselves
    frames = [frame(z, **{name: 100 + z % 4}) for z in range(16)]
    assert reasons(stacks(frames)) == [None]
    assert reasons(stacks([each for z, each in enumerate(frames) if z != 6])) == [Reason.MISSING_SLICES]


def test_a_counter_of_all_images_does_not_tear_small_volumes_apart() -> None:
    # Temporal Position counts slices and times: two slices at three times
    found = stacks([frame(z, temporal=1 + 2 * time + z) for time in range(3) for z in range(2)])
    assert (members(found), reasons(found)) == ([(0, 1), (2, 3), (4, 5)], [None] * 3)


def test_a_counter_of_slices_does_not_tear_repeats_apart() -> None:
    # Temporal Position counts slices; only the Instance Number tells two scans of two slices apart
    found = stacks([frame(z, number=2 * time + z, temporal=z) for time in range(2) for z in range(2)])
    assert (members(found), reasons(found)) == ([(0, 1), (2, 3)], [None, None])


def test_a_counter_of_images_does_not_hide_a_duplicate() -> None:
    found = stacks([frame(z, temporal=at) for at, z in enumerate([0, 1, 2, 2, 3, 4])])
    assert reasons(found) == [Reason.SAME_POSITION]


@pytest.mark.parametrize("name", ["acquisition_time", "reference_time"])
def test_times_tell_nothing_apart_where_no_place_repeats(name: str) -> None:
    beds = [frame(z, **{name: 100}) for z in range(5)] + [frame(20.5 + z, **{name: 200}) for z in range(5)]
    assert reasons(stacks(beds)) == [Reason.UNEVEN_SLICES]


def test_a_frame_that_says_nothing_is_of_the_same_kind() -> None:
    found = stacks([frame(0), frame(1, acquisition=1), frame(2)])
    assert (members(found), reasons(found)) == ([(0, 1, 2)], [None])


def test_shots_repeated_are_ordered_by_number() -> None:
    times = [(time, z) for time in range(3) for z in range(8)]
    frames = [frame(z, number=8 * time + z, acquisition_time=100 * time + z % 4) for time, z in times]
    assert members(stacks(frames)) == [tuple(range(start, start + 8)) for start in range(0, 24, 8)]


def test_contrasts_at_shared_places_are_told_apart_even_if_slices_are_missing() -> None:
    found = stacks([frame(z, temporal=time) for time, gap in ((1, 3), (2, 4)) for z in range(8) if z != gap])
    assert members(found) == [tuple(range(7)), tuple(range(7, 14))]
    assert reasons(found) == [Reason.MISSING_SLICES] * 2


def test_echoes_are_told_apart_within_each_time() -> None:
    times = [(time, z) for time in range(2) for z in range(6)]
    found = stacks([frame(z, temporal=time, echo_time=10 + 20 * (z % 2)) for time, z in times])
    assert members(found) == [(0, 2, 4), (1, 3, 5), (6, 8, 10), (7, 9, 11)]


@pytest.mark.parametrize("name", ["frame_of_reference", "colour"])
def test_what_is_apart_is_never_one_volume(name: str) -> None:
    values: list[dict[str, Any]] = [{name: "" if z < 4 else "1a2b3c4d"} for z in range(8)]
    found = stacks([frame(z, **value) for z, value in enumerate(values)])
    assert (members(found), reasons(found)) == ([(0, 1, 2, 3), (4, 5, 6, 7)], [None, None])
    assert members(stacks([frame(0), frame(1), frame(2, **values[-1])])) == [(0, 1), (2,)]


def test_two_slices_side_by_side_are_no_volume() -> None:
    found = stacks([frame(0), frame(2, x=150)])
    assert (members(found), reasons(found)) == ([(0,), (1,)], [Reason.TOO_FEW_SLICES] * 2)
    assert reasons(stacks([frame(0), frame(2, x=150), frame(4, x=300)])) == [Reason.UNEVEN_SLICES]


def test_repeats_whose_table_moved_a_little_are_volumes() -> None:
    frames = [frame(2 * z + 0.01 * time, number=10 * time + z) for time in range(3) for z in range(10)]
    found = stacks(frames)
    assert members(found) == [tuple(range(start, start + 10)) for start in (0, 10, 20)]
    assert reasons(found) == [None] * 3
    assert reasons(stacks([replace(each, number=0) for each in frames])) == [Reason.SAME_POSITION]
