"""Siemens mosaics: tiles, where they lie, which way they run."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.dicom.geometry.frames import object_frames
from client.dicom.geometry.mosaic import is_mosaic, mosaic_frames, tile_of
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.geometry.series import Floats, affine, encoded, frames_of, image, near, stacks_of
from tests.client.dicom.geometry.siemens import csa2, mosaic, protocol

COUNT = {"NumberOfImagesInMosaic": ["7"]}
UP = csa2({**COUNT, "SliceNormalVector": ["0.0", "0.0", "1.0"]})
DOWN = csa2({**COUNT, "SliceNormalVector": ["0.0", "0.0", "-1.0"]})
#: the middle of each slice: 4 rows of 2 mm and 6 columns of 3 mm around it
PLAN = [(0.0, 2.0, 10.0 + 4.0 * index) for index in range(7)]


def grid(z: float) -> Floats:
    """Of seven slices upwards from `z`."""
    return affine((-9, -2, z), [(0, 0, 4), (0, 2, 0), (3, 0, 0)])


def heights(dataset: Dataset) -> list[float | None]:
    return [frame.position[2] if frame.position else None for frame in frames_of(encoded(dataset))]


def test_tiles_stand_row_by_row() -> None:
    dataset = mosaic(1, UP)
    assert [tile_of(dataset, index) for index in (0, 1, 3, 6)] == [
        (0, 0, 4, 6), (0, 6, 4, 6), (4, 0, 4, 6), (8, 0, 4, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("index", [-1, 7, 9])
def test_blank_tiles_are_none(index: int) -> None:
    with pytest.raises(LeftOutError) as caught:
        tile_of(mosaic(1, UP), index)
    assert caught.value.reason is Reason.UNREADABLE


def test_what_is_a_mosaic() -> None:
    assert is_mosaic(mosaic(1, UP))
    assert not is_mosaic(mosaic(1, UP, ImageType=["ORIGINAL", "PRIMARY", "M"]))
    assert not is_mosaic(mosaic(1, UP, NumberOfFrames=2))
    assert not is_mosaic(image(1))


def test_what_is_no_mosaic_has_no_tiles() -> None:
    with pytest.raises(LeftOutError):
        tile_of(image(1), 0)


def test_the_crops_hold_what_the_slices_show() -> None:
    slices = np.arange(9 * 4 * 6).reshape(9, 4, 6)
    picture = slices.reshape(3, 3, 4, 6).transpose(0, 2, 1, 3).reshape(12, 18)  # rows of tiles
    for index in range(7):
        row, column, rows, columns = tile_of(mosaic(1, UP), index)
        np.testing.assert_array_equal(picture[row : row + rows, column : column + columns], slices[index])


def test_each_tile_is_a_frame_where_it_lies() -> None:
    frames = frames_of(encoded(mosaic(3, UP)))
    assert len(frames) == 7
    assert {(frame.rows, frame.columns, frame.spacing) for frame in frames} == {(4, 6, (2.0, 3.0))}
    assert [frame.number for frame in frames] == [(3 << 20) + index for index in range(7)]
    (stack,) = stacks_of([mosaic(3, UP)])
    assert (stack.frames, stack.reason) == (tuple(range(7)), None)
    near(stack, grid(10))


def test_slices_run_along_the_private_normal() -> None:
    (stack,) = stacks_of([mosaic(1, DOWN)])
    assert stack.frames == (6, 5, 4, 3, 2, 1, 0)
    near(stack, grid(10 - 6 * 4))


def test_mosaics_of_one_series_are_times() -> None:
    found = stacks_of([mosaic(2, UP, AcquisitionNumber=2), mosaic(1, UP, AcquisitionNumber=1)])
    assert [stack.frames for stack in found] == [tuple(range(7, 14)), tuple(range(7))]
    by_number = stacks_of([mosaic(2, UP), mosaic(1, UP)])
    assert [stack.frames for stack in by_number] == [tuple(range(7, 14)), tuple(range(7))]


def test_without_a_normal_slices_run_as_planned() -> None:
    assert heights(mosaic(1, b"", protocol(PLAN))) == [10 + 4 * index for index in range(7)]


def test_without_a_normal_slices_may_run_from_the_other_end() -> None:
    downwards = [(0.0, 2.0, 10.0 - 4.0 * (6 - index)) for index in range(7)]
    assert heights(mosaic(1, b"", protocol(downwards))) == [10 - 4 * index for index in range(7)]


def test_without_a_spacing_slices_lie_as_far_apart_as_planned() -> None:
    plan = [(0.0, 2.0, 10.0 + 4.5 * index) for index in range(7)]
    dataset = mosaic(1, UP, protocol(plan), SpacingBetweenSlices=None)
    assert heights(dataset) == [10 + 4.5 * index for index in range(7)]


@pytest.mark.parametrize(
    "dataset",
    [
        mosaic(1, csa2(COUNT)),  # neither normal nor plan
        mosaic(1, UP, SpacingBetweenSlices=None),  # neither distance nor plan
        mosaic(1, b"", protocol([(0.0, 2.0, 90.0 + 4.0 * index) for index in range(7)])),  # a plan of something else
        mosaic(1, csa2({**COUNT, "SliceNormalVector": ["1.0", "0.0", "0.0"]})),  # across the picture's normal
        mosaic(1, csa2({**COUNT, "SliceNormalVector": ["0.0", "0.0", "0.0"]})),
        mosaic(1, b"", protocol([(0.0, 2.0, 10.0)] * 7)),  # a plan that goes nowhere
        mosaic(1, b"", protocol(PLAN).replace(b"dTra\t = \t10.0", b"dTra\t = \t1e999")),
        mosaic(1, b"", protocol(PLAN).replace(b"dTra\t = \t10.0", b"dTra\t = \t1e99")),
        mosaic(1, b"", protocol(PLAN).replace(b"dTra\t = \t10.0", b"dTra\t = \t1.2.3")),
        mosaic(1, b"", protocol([(0.0, 2.0, 10.0 + 6.0 * index) for index in range(7)])),  # other slices
        mosaic(1, UP, ImagePositionPatient=None),
        mosaic(1, UP, ImageOrientationPatient=None),
        mosaic(1, UP, PixelSpacing=None),
        mosaic(1, UP, SpacingBetweenSlices=1e9),
    ],
)
def test_which_way_slices_run_is_never_guessed(dataset: Dataset) -> None:
    found = heights(dataset)
    assert len(found) == 7
    assert found[1:] == [None] * 6


@pytest.mark.parametrize("count", ["0", "-1", "x", "17", "1025", "1e30"])
def test_a_count_that_does_not_fit_makes_no_tiles(count: str) -> None:
    dataset = mosaic(1, csa2({"NumberOfImagesInMosaic": [count]}))
    assert mosaic_frames(dataset) == ()
    assert not is_mosaic(dataset)
    (frame,) = object_frames(dataset)
    # one picture, and no slice: its position is not that of its first pixel
    assert (frame.rows, frame.columns, frame.position) == (12, 18, None)


def test_a_mosaic_of_one_slice() -> None:
    dataset = mosaic(1, csa2({"NumberOfImagesInMosaic": ["1"]}))
    (frame,) = frames_of(encoded(dataset))
    assert (frame.rows, frame.columns, frame.position) == (12, 18, (-27, -10, 10))
