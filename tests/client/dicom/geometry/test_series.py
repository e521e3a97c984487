"""The series of DICOM.md §3, and what §2 adds: exact affines, or the right reason."""

from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from client.dicom.geometry.stacks import Stack
from client.dicom.reasons import Reason
from tests.client.dicom.geometry.series import (
    AXIAL,
    COLUMNS,
    CORONAL,
    ROWS,
    SAGITTAL,
    affine,
    corners,
    encoded,
    image,
    item,
    line,
    multi_frame,
    near,
    read_back,
    same_place,
    series,
    stacks_of,
)

#: of five slices of `line`
UPWARDS = affine((-100, -50, 10), [(0, 0, 2), (0, 0.5, 0), (0.5, 0, 0)])


def only(datasets: list[Dataset]) -> Stack:
    """The one stack of a series."""
    (stack,) = stacks_of(datasets)
    return stack


def is_the_five(stack: Stack, frames: tuple[int, ...] = (0, 1, 2, 3, 4)) -> None:
    assert stack.reason is None
    assert stack.frames == frames
    assert stack.shape == (5, ROWS, COLUMNS)
    assert stack.spacing == (2.0, 0.5, 0.5)
    assert stack.tilt == 0.0
    np.testing.assert_array_equal(stack.affine, UPWARDS)


def test_a_plain_series() -> None:
    is_the_five(only(series(line(5))))


def test_instance_numbers_shuffled() -> None:
    datasets = series(line(5))
    for dataset, number in zip(datasets, (3, 1, 5, 2, 4), strict=True):
        dataset.InstanceNumber = number
    is_the_five(only(datasets))


def test_files_shuffled() -> None:
    datasets = series(line(5))
    order = [3, 0, 4, 2, 1]
    is_the_five(only([datasets[index] for index in order]), tuple(order.index(index) for index in range(5)))


def test_no_instance_number() -> None:
    is_the_five(only(series(line(5), InstanceNumber=None)))


@pytest.mark.parametrize("missing", [1, 3, 5, 8])
def test_a_missing_slice(missing: int) -> None:
    stack = only([dataset for index, dataset in enumerate(series(line(10))) if index != missing])
    assert (stack.reason, stack.affine) == (Reason.MISSING_SLICES, None)
    assert stack.spacing == (2.0, 0.5, 0.5)
    assert len(stack.frames) == 9


def test_a_slice_missing_at_an_end_is_not_missed() -> None:
    assert only(series(line(10))[1:]).reason is None


def test_a_duplicate_slice() -> None:
    datasets = [*series(line(5)), image(6, ImagePositionPatient=[-100, -50, 14])]
    stack = only(datasets)
    assert (stack.reason, stack.affine) == (Reason.SAME_POSITION, None)
    assert sorted(stack.frames) == [0, 1, 2, 3, 4, 5]


def test_a_localizer_of_another_orientation() -> None:
    localizer = image(6, ImagePositionPatient=[0, -60, 30], ImageOrientationPatient=list(SAGITTAL))
    lone, volume = sorted(stacks_of([localizer, *series(line(5))]), key=lambda stack: stack.shape)
    is_the_five(volume, (1, 2, 3, 4, 5))
    assert (lone.frames, lone.reason) == ((0,), Reason.TOO_FEW_SLICES)
    np.testing.assert_array_equal(lone.affine, affine((0, -60, 30), [(-1, 0, 0), (0, 0, -0.5), (0, 0.5, 0)]))


def test_a_localizer_among_the_slices() -> None:
    localizer = image(6, ImagePositionPatient=[-100, -50, 15], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    volume, lone = stacks_of([*series(line(5)), localizer])
    is_the_five(volume)
    assert (lone.frames, lone.reason) == ((5,), Reason.TOO_FEW_SLICES)


def test_two_series_in_one_folder() -> None:
    # the catalog groups by Series Instance UID; each group is one call
    is_the_five(only(series(line(5))))
    other = only(series(line(5, step=3.0, start=11.0), SeriesInstanceUID="2.25.2"))
    np.testing.assert_array_equal(other.affine, affine((-100, -50, 11), [(0, 0, 3), (0, 0.5, 0), (0.5, 0, 0)]))


def test_gantry_tilt_keeps_the_shear() -> None:
    # 3-4-5: rows lean by 36.87°, the table moves straight up
    tilted = (1.0, 0.0, 0.0, 0.0, 0.8, -0.6)
    stack = only(series(line(5), ImageOrientationPatient=list(tilted), GantryDetectorTilt=20))  # the tag is nominal
    assert stack.reason is None
    assert stack.tilt == pytest.approx(36.8698976)
    assert stack.spacing == (2.0, 0.5, 0.5)
    np.testing.assert_array_equal(stack.affine, affine((-100, -50, 10), [(0, 0, 2), (0, 0.4, -0.3), (0.5, 0, 0)]))


@pytest.mark.parametrize("without", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_no_place_is_no_volume(without: str) -> None:
    datasets = series(line(5))
    for dataset in datasets:
        delattr(dataset, without)
    stack = only(datasets[::-1])
    assert (stack.reason, stack.affine, stack.spacing) == (Reason.NO_GEOMETRY, None, None)
    assert stack.frames == (4, 3, 2, 1, 0)  # by number
    assert stack.shape == (5, ROWS, COLUMNS)


def test_some_slices_without_place() -> None:
    datasets = series(line(5))
    del datasets[2].ImagePositionPatient
    volume, lost = stacks_of(datasets)
    assert (volume.reason, volume.frames) == (Reason.MISSING_SLICES, (0, 1, 3, 4))
    assert (lost.reason, lost.frames) == (Reason.NO_GEOMETRY, (2,))


@pytest.mark.parametrize(
    "values",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"ModalityLUTSequence": [item(LUTDescriptor=[2, 0, 16], ModalityLUTType="HU", LUTData=b"\0\0\1\0")]},
        {"RescaleSlope": 2, "RescaleIntercept": -1024},
    ],
    ids=["monochrome1", "modality lut", "rescale"],
)
def test_pixels_say_nothing_of_place(values: dict[str, Any]) -> None:
    is_the_five(only(series(line(5), **values)))


def test_a_rescale_of_each_slice() -> None:
    datasets = series(line(5))
    for index, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + index, 0
    is_the_five(only(datasets))


def test_enhanced_multi_frame() -> None:
    is_the_five(only([multi_frame(line(5))]))


def test_enhanced_multi_frame_stored_downwards() -> None:
    is_the_five(only([multi_frame(line(5)[::-1])]), (4, 3, 2, 1, 0))


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "TriggerTime", "EchoTime", "AcquisitionNumber"])
def test_several_volumes_in_one_series(keyword: str) -> None:
    datasets = [
        image(1 + 5 * phase + index, ImagePositionPatient=list(place), **{keyword: 9 + phase})
        for phase in range(3)
        for index, place in enumerate(line(5))
    ]
    for phase, stack in enumerate(stacks_of(datasets)):
        is_the_five(stack, tuple(range(5 * phase, 5 * phase + 5)))


def test_mixed_orientation() -> None:
    coronal = series([(-100, 5.0 * index, 40) for index in range(3)], ImageOrientationPatient=list(CORONAL))
    first, second = stacks_of([*series(line(5)), *coronal])
    is_the_five(first if first.shape[0] == 5 else second)
    other = second if first.shape[0] == 5 else first
    assert other.frames == (5, 6, 7)
    np.testing.assert_array_equal(other.affine, affine((-100, 0, 40), [(0, 5, 0), (0, 0, -0.5), (0.5, 0, 0)]))


@pytest.mark.parametrize("values", [{"Rows": 8}, {"Columns": 8}, {"PixelSpacing": [0.5, 0.6]}])
def test_a_slice_of_another_matrix_or_spacing(values: dict[str, Any]) -> None:
    datasets = [*series(line(5)), image(6, ImagePositionPatient=[-100, -50, 20], **values)]
    parts = {stack.frames: stack for stack in stacks_of(datasets)}
    is_the_five(parts[0, 1, 2, 3, 4])
    assert parts[5,].reason is Reason.TOO_FEW_SLICES


def test_pixels_that_are_not_square() -> None:
    # 0.7 mm between rows, 0.3 mm between columns: never swapped
    stack = only(series(line(5), PixelSpacing=[0.7, 0.3]))
    assert stack.spacing == (2.0, 0.7, 0.3)
    np.testing.assert_array_equal(stack.affine, affine((-100, -50, 10), [(0, 0, 2), (0, 0.7, 0), (0.3, 0, 0)]))


def test_decimal_strings_longer_than_allowed() -> None:
    datasets = series(line(5))
    for dataset in datasets:
        cosine = DSfloat("0.80000000000000004440892098500626", validation_mode=0)
        sine = DSfloat("0.60000000000000002220446049250313", validation_mode=0)
        dataset["ImageOrientationPatient"]._value = [cosine, sine, DSfloat("0"), DSfloat("-0.6"), cosine, DSfloat("0")]
    assert b"0.80000000000000004440892098500626" in encoded(datasets[0])
    stack = only(datasets)
    assert stack.reason is None
    near(stack, affine((-100, -50, 10), [(0, 0, 2), (-0.3, 0.4, 0), (0.4, 0.3, 0)]))


def test_sagittal_slices() -> None:
    # row direction towards the back, columns downwards: their cross product points to the right
    stack = only(series([(20.0 + 3 * index, -60, 40) for index in range(5)], ImageOrientationPatient=list(SAGITTAL)))
    assert stack.frames == (4, 3, 2, 1, 0)
    np.testing.assert_array_equal(stack.affine, affine((32, -60, 40), [(-3, 0, 0), (0, 0, -0.5), (0, 0.5, 0)]))


def test_oblique_slices() -> None:
    orientation = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)
    stack = only(series(line(5), ImageOrientationPatient=list(orientation)))
    near(stack, affine((-100, -50, 10), [(0, 0, 2), (-0.3, 0.4, 0), (0.4, 0.3, 0)]))


def test_uneven_slices() -> None:
    places = line(6)
    places[3] = (-100.0, -50.0, 16.9)
    stack = only(series(places))
    assert (stack.reason, stack.affine) == (Reason.UNEVEN_SLICES, None)


def test_a_slice_shifted_sidewards_is_uneven() -> None:
    places = line(6)
    places[3] = (-99.0, -50.0, 16.0)
    assert only(series(places)).reason is Reason.UNEVEN_SLICES


def test_positions_rounded_to_two_decimals_are_even() -> None:
    stack = only(series([(-100, -50, round(10 + index * 0.625, 2)) for index in range(41)]))
    assert stack.reason is None
    # from the first and the last position: roundings do not add up
    assert stack.spacing == pytest.approx((0.625, 0.5, 0.5), abs=1e-12)


def test_a_lone_slice() -> None:
    stack = only(series(line(1)))
    assert stack.reason is Reason.TOO_FEW_SLICES
    assert stack.spacing == (1.0, 0.5, 0.5)
    np.testing.assert_array_equal(stack.affine, affine((-100, -50, 10), [(0, 0, 1), (0, 0.5, 0), (0.5, 0, 0)]))


ORACLE = [AXIAL, SAGITTAL, CORONAL, (0.8, 0.6, 0.0, -0.6, 0.8, 0.0), (0.0, 0.6, -0.8, 1.0, 0.0, 0.0)]


@pytest.mark.parametrize("orientation", ORACLE)
def test_equals_highdicom(orientation: tuple[float, ...]) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    places = [(np.array([5.0, -7.0, 11.0]) + 2.5 * index * normal).round(6).tolist() for index in range(7)]
    datasets = series(places, ImageOrientationPatient=list(orientation), PixelSpacing=[0.75, 0.5])
    datasets = [datasets[index] for index in (3, 6, 0, 1, 5, 2, 4)]
    volume = highdicom.get_volume_from_series([read_back(dataset) for dataset in datasets])
    stack = only(datasets)
    assert same_place(stack, volume.affine, volume.spatial_shape) < 1e-6


def test_refuses_a_gap_as_highdicom_does() -> None:
    datasets = series(line(10))
    del datasets[4]
    with pytest.raises(ValueError):
        highdicom.get_volume_from_series([read_back(dataset) for dataset in datasets])
    assert only(datasets).reason is Reason.MISSING_SLICES


def test_voxels_lie_where_their_slices_say() -> None:
    """Each slice's corner by the affine is its own Image Position, not an accumulated one."""
    datasets = series(line(5, step=1 / 3))
    stack = only(datasets)
    assert stack.affine is not None
    for place, index in enumerate(stack.frames):
        corner = stack.affine @ (place, 0, 0, 1)
        np.testing.assert_allclose(corner[:3], [float(v) for v in datasets[index].ImagePositionPatient], atol=1e-9)
    assert corners(stack.affine, stack.shape).shape == (8, 3)
