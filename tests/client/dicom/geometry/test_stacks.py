"""Frames → stacks: phases, order, and what must hold for any series."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from client.dicom.geometry.frame import Frame, pack_frames, unpack_frames
from client.dicom.geometry.stacks import Stack, stacks
from client.dicom.reasons import Reason
from tests.client.dicom.geometry.series import affine, near
from tests.client.dicom.geometry.series import axial as frame

Key = tuple[int, ...]


def members(found: Sequence[Stack]) -> list[Key]:
    return [stack.frames for stack in found]


def reasons(found: Sequence[Stack]) -> list[Reason | None]:
    return [stack.reason for stack in found]


def test_whole_numbers_are_numbers() -> None:
    places = [
        Frame(rows=4, columns=4, position=(0, 0, z), orientation=(1, 0, 0, 0, 1, 0), spacing=(1, 1)) for z in (6, 2, 4)
    ]
    (stack,) = stacks(places)
    assert (stack.frames, stack.spacing) == ((1, 2, 0), (2.0, 1.0, 1.0))


def test_nothing_gives_nothing() -> None:
    assert stacks([]) == ()


def test_a_change_of_acquisition_half_way_splits_nothing() -> None:
    found = stacks([frame(z, acquisition=1 if z < 3 else 2) for z in range(6)])
    assert members(found) == [(0, 1, 2, 3, 4, 5)]
    assert reasons(found) == [None]


def test_an_acquisition_of_each_slice_splits_nothing() -> None:
    assert reasons(stacks([frame(z, acquisition=z) for z in range(6)])) == [None]


@pytest.mark.parametrize("missing", [7, 8, 9])
def test_a_gap_is_not_hidden_by_splitting_step_and_shoot_acquisitions(missing: int) -> None:
    # four slices each; without the first or the last of one, each by itself would be even
    found = stacks([frame(z, acquisition=z // 4) for z in range(16) if z != missing])
    assert reasons(found) == [Reason.MISSING_SLICES]


def test_a_gap_is_not_hidden_by_taking_every_other_slice() -> None:
    # interleaved packages: the even slices by themselves would be a volume
    found = stacks([frame(z, acquisition=z % 2) for z in range(16) if z != 9])
    assert reasons(found) == [Reason.MISSING_SLICES]


def test_a_bolus_awaited_at_one_place_spoils_no_volume() -> None:
    frames = [frame(z, number=z, acquisition=2) for z in range(8)]
    frames += [frame(3, number=20 + time, acquisition=1) for time in range(4)]
    found = stacks(frames)
    assert members(found) == [(8,), (9,), (10,), (11,), (0, 1, 2, 3, 4, 5, 6, 7)]
    assert reasons(found) == [Reason.TOO_FEW_SLICES] * 4 + [None]


def test_a_few_slices_taken_again_are_a_volume_of_their_own() -> None:
    frames = [frame(z, acquisition=1) for z in range(8)] + [frame(z, acquisition=2) for z in (3, 4)]
    assert members(stacks(frames)) == [(0, 1, 2, 3, 4, 5, 6, 7), (8, 9)]


def test_a_number_of_each_slice_does_not_hide_a_duplicate() -> None:
    found = stacks([frame(z, acquisition=at) for at, z in enumerate([0, 1, 2, 2, 3, 4])])
    assert reasons(found) == [Reason.SAME_POSITION]


def test_an_attribute_that_tells_all_apart_goes_before_one_that_seems_to() -> None:
    # the first of the two has every place twice, but runs across the times
    frames = [frame(z, temporal=time, image_type="MP"[(z + time) % 2]) for time in range(4) for z in range(4)]
    assert members(stacks(frames)) == [tuple(range(start, start + 4)) for start in range(0, 16, 4)]


def test_a_localizer_beside_few_slices() -> None:
    found = stacks([frame(0), frame(1), frame(2), frame(1.5, image_type="LOCALIZER")])
    assert members(found) == [(0, 1, 2), (3,)]
    assert reasons(found) == [None, Reason.TOO_FEW_SLICES]


@pytest.mark.parametrize(("slope", "tilt"), [(0.001, 0.0), (0.1, 5.7105931)])
def test_what_is_less_than_a_tenth_of_a_degree_is_no_tilt(slope: float, tilt: float) -> None:
    (stack,) = stacks([frame(z, x=slope * z) for z in range(5)])
    assert stack.tilt == pytest.approx(tilt)
    near(stack, affine((0, 0, 0), [(slope, 0, 1), (0, 0.5, 0), (0.5, 0, 0)]))  # the affine has it all the same


def test_two_acquisitions_apart_are_two_volumes() -> None:
    chest = [frame(z, acquisition=1) for z in range(5)]
    pelvis = [frame(20.5 + z, acquisition=2) for z in range(5)]
    assert members(stacks([*chest, *pelvis])) == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]


def test_two_acquisitions_that_overlap_are_two_volumes() -> None:
    chest = [frame(z, acquisition=1) for z in range(6)]
    abdomen = [frame(3.5 + z, acquisition=2) for z in range(6)]
    found = stacks([*chest, *abdomen])
    assert members(found) == [(0, 1, 2, 3, 4, 5), (6, 7, 8, 9, 10, 11)]
    assert reasons(found) == [None, None]


@pytest.mark.parametrize(
    "values",
    [
        {"image_type": [r"ORIGINAL\PRIMARY\M", r"ORIGINAL\PRIMARY\P"]},
        {"image_type": [r"DERIVED\PRIMARY\DIXON\IN_PHASE", r"DERIVED\PRIMARY\DIXON\WATER"]},
        {"echo_time": [2.46, 4.92]},
        {"echo_number": [1, 2]},
        {"b_value": [0, 1000]},
        {"gradient": [(0, 1, 0), (1, 0, 0)]},
        {"temporal": [9, 10]},  # as numbers, 9 comes first
        {"trigger": [0.0, 41.5]},
        {"acquisition": [1, 2]},
        {"stack": ["1", "2"]},
        {"dimensions": [(1, 9), (1, 10)]},
        {"inversion_time": [50.0, 120.0]},
        {"flip_angle": [5.0, 15.0]},
        {"acquisition_time": ["095959.9", "100001"]},
        {"reference_time": [500.0, 1500.0]},
    ],
    ids=lambda values: next(iter(values)),
)
def test_phases_at_the_same_places_are_volumes(values: dict[str, Any]) -> None:
    ((name, (first, second)),) = values.items()
    frames = [frame(z, **{name: value}) for z in range(3) for value in (second, first)]
    assert members(stacks(frames)) == [(1, 3, 5), (0, 2, 4)]


def test_several_attributes_split_one_after_another() -> None:
    frames = [frame(z, echo_time=echo, temporal=time) for echo in (1.2, 2.4) for time in range(3) for z in range(4)]
    assert members(stacks(frames)) == [tuple(range(start, start + 4)) for start in range(0, 24, 4)]


def test_directions_of_diffusion_beside_an_image_without() -> None:
    frames = [frame(z, b_value=0) for z in range(3)]
    frames += [frame(z, b_value=1000, gradient=way) for way in ((1, 0, 0), (0, 1, 0)) for z in range(3)]
    assert sorted(members(stacks(frames))) == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]


def test_trigger_times_that_differ_from_place_to_place_count_in_order() -> None:
    frames = [frame(z, trigger=40 * time + 0.7 * z) for time in range(3) for z in range(4)]
    assert members(stacks(frames)) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]


def test_a_scan_broken_off_keeps_its_whole_volumes() -> None:
    frames = [frame(z, temporal=time) for time in range(3) for z in range(5)][:-2]
    found = stacks(frames)
    assert members(found) == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9), (10, 11, 12)]
    assert reasons(found) == [None, None, None]


def test_numbers_order_what_nothing_else_tells_apart() -> None:
    # 150 files of one GE series: 15 places × 10 times, all by the Instance Number
    frames = [frame(z, number=15 * time + z) for time in range(10) for z in range(15)]
    assert members(stacks(frames)) == [tuple(range(start, start + 15)) for start in range(0, 150, 15)]
    slowly = [frame(z, number=10 * z + time) for time in range(10) for z in range(15)]
    assert members(stacks(slowly)) == [tuple(range(start, start + 15)) for start in range(0, 150, 15)]


def test_numbers_do_not_order_an_unequal_count() -> None:
    found = stacks([*(frame(z, number=z) for z in range(5)), frame(2, number=9)])
    assert reasons(found) == [Reason.SAME_POSITION]


def test_equal_numbers_order_nothing() -> None:
    found = stacks([frame(z, number=0) for z in range(4) for _ in range(2)])
    assert reasons(found) == [Reason.SAME_POSITION]


def test_volumes_side_by_side() -> None:
    frames = [frame(z, x=x) for z in range(4) for x in (0.0, 90.0)]
    found = stacks(frames)
    assert members(found) == [(0, 2, 4, 6), (1, 3, 5, 7)]
    assert reasons(found) == [None, None]


def test_rounded_orientations_are_one() -> None:
    turned = Frame(
        rows=4, columns=6, position=(0, 0, 1), orientation=(1.0, 3e-4, 0.0, -3e-4, 1.0, 0.0), spacing=(0.5, 0.50001)
    )
    assert reasons(stacks([frame(0), turned, frame(2)])) == [None]


def test_orientations_farther_apart_are_not_one() -> None:
    turned = Frame(
        rows=4, columns=6, position=(0, 0, 1), orientation=(1.0, 3e-3, 0.0, -3e-3, 1.0, 0.0), spacing=(0.5, 0.5)
    )
    assert sorted(members(stacks([frame(0), turned, frame(2)]))) == [(0, 2), (1,)]


def test_more_geometries_than_a_scanner_makes() -> None:
    # two slices of each; from the thousandth geometry on every frame stands alone, so that time stays bounded
    frames = [
        Frame(
            rows=1, columns=1, position=(depth * np.sin(angle), -depth * np.cos(angle), 0.0),
            orientation=(np.cos(angle), np.sin(angle), 0.0, 0.0, 0.0, 1.0), spacing=(1.0, 1.0),
        )
        for angle in np.linspace(0, 3, 1100)
        for depth in (0.0, 1.0)
    ]  # fmt: skip
    found = reasons(stacks(frames))
    assert (found.count(None), found.count(Reason.TOO_FEW_SLICES), len(found)) == (1000, 200, 1200)


def test_frames_survive_the_catalog() -> None:
    frames = (frame(1.5, 7, temporal=2), Frame(rows=1, columns=2))
    assert unpack_frames(pack_frames(frames)) == frames
