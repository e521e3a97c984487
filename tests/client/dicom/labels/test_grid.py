"""Masks that highdicom wrote, on grids of every kind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.dicom.labels.faults import MaskError
from client.dicom.writing import derived_uid
from tests.client.dicom.labels.segmentations import (
    COLUMNS,
    ROWS,
    TILTED,
    Mask,
    affine,
    ct,
    grid_of,
    read,
    some_mask,
    written,
)


@pytest.fixture
def images(make: Callable[..., Dataset]) -> Callable[..., list[Dataset]]:
    return ct(make)


@pytest.fixture
def mask() -> Mask:
    return some_mask()


@pytest.mark.parametrize("turn", [None, TILTED, TILTED.T @ np.diag([1, -1, -1])])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
@pytest.mark.parametrize("omit", [True, False])
def test_what_was_drawn_is_what_is_read(
    images: Callable[..., list[Dataset]], mask: Mask, turn: Any, order: list[int], omit: bool
) -> None:
    matrix = affine(turn=turn)
    sources = images(matrix)
    seg = written([sources[place] for place in order], mask[order].astype(np.uint8), omit_empty_frames=omit)
    found = read(seg)
    assert found.labels == ("A",)
    assert found.series == (sources[0].SeriesInstanceUID,)
    assert np.array_equal(found.on(grid_of(matrix), "A"), mask)


@pytest.mark.parametrize("flip", [(0,), (1,), (2,), (0, 2)])
def test_a_grid_that_runs_the_other_way(
    images: Callable[..., list[Dataset]], mask: Mask, flip: tuple[int, ...]
) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    for axis in flip:
        matrix[:3, 3] += matrix[:3, axis] * (mask.shape[axis] - 1)
        matrix[:3, axis] *= -1
    assert np.array_equal(found.on(grid_of(matrix), "A"), np.flip(mask, flip))


def test_a_grid_in_other_planes(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    sagittal = matrix[:, [2, 0, 1, 3]]  # slices along the columns, rows along the slices
    grid = grid_of(sagittal, shape=(COLUMNS, 4, ROWS))
    assert np.array_equal(found.on(grid, "A"), mask.transpose(2, 0, 1))


def test_a_finer_grid_takes_the_nearest_pixel_and_nothing_beyond(
    images: Callable[..., list[Dataset]], mask: Mask
) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    fine = matrix @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] -= fine[:3, :3].sum(axis=1) * 0.5  # half a fine voxel before the first: 0.25 of a coarse one
    doubled = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(found.on(grid_of(fine, shape=doubled.shape), "A"), doubled)
    beyond = fine.copy()
    beyond[:3, 3] -= fine[:3, 0]
    grid = grid_of(beyond, shape=(doubled.shape[0] + 2, *doubled.shape[1:]))
    assert np.array_equal(found.on(grid, "A"), np.pad(doubled, ((1, 1), (0, 0), (0, 0))))


def test_a_lone_slice_does_not_spread(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    mask[[0, 2]] = False
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    assert found.dataset.NumberOfFrames == 1
    assert np.array_equal(found.on(grid_of(matrix), "A"), mask)


def test_slices_far_apart_do_not_fill_those_between(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    mask[1:3] = False
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    assert np.array_equal(found.on(grid_of(matrix), "A"), mask)


def test_a_grid_halfway_takes_the_plane_above(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    halfway = matrix.copy()
    halfway[:3, 3] += matrix[:3, 0] / 2
    assert np.array_equal(found.on(grid_of(halfway), "A"), np.concatenate([mask[1:], mask[:1] & False]))


def test_the_frame_of_reference_must_be_the_images(images: Callable[..., list[Dataset]], mask: Mask) -> None:
    matrix = affine()
    found = read(written(images(matrix), mask.astype(np.uint8)))
    same = grid_of(matrix, frame_of_reference=derived_uid("frame"))
    assert np.array_equal(found.on(same, "A"), mask)
    with pytest.raises(MaskError, match="other_frame"):
        found.on(grid_of(matrix, frame_of_reference="1.2.3"), "A")
