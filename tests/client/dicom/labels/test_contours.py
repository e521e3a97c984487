from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client.dicom.item import Location
from client.dicom.labels import contours
from client.dicom.labels.contours import contours_of
from client.dicom.labels.faults import MaskError
from client.dicom.labels.grid import Grid
from client.dicom.labels.objects import read_object
from client.dicom.writing import write_object
from tests.client.dicom.labels.structures import FRAME, structure_set

Points = NDArray[np.float64]
#: Axial, slices 3 mm apart towards the head, rows 2 mm, columns 1 mm.
AFFINE = np.array([[0, 0, 1.0, -5], [0, 2.0, 0, 7], [3.0, 0, 0, 100], [0, 0, 0, 1]])
#: The same scan on a tilted table: 36.87° about the x axis.
TILTED = np.array([[1, 0, 0, 0], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]]) @ AFFINE
#: A tilted gantry: slices drift towards the back.
SHEARED = AFFINE + np.array([[0, 0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
SHAPE = (3, 4, 4)


def grid_of(matrix: Points = AFFINE, shape: tuple[int, int, int] = SHAPE, frame: str | None = FRAME) -> Grid:
    return Grid(tuple(matrix.ravel().tolist()), shape, frame)


def square(number: float, first: float, last: float, matrix: Points = AFFINE) -> Points:
    """Corners, LPS mm, of a square on slice `number`, rows and columns from `first` to `last`."""
    corners = [(number, row, column, 1) for row, column in [(first, first), (first, last), (last, last), (last, first)]]
    moved: Points = (np.array(corners) @ matrix.T)[:, :3]
    return moved


def squares(*planes: tuple[int, int, int], shape: tuple[int, int, int] = SHAPE) -> NDArray[np.bool_]:
    """A mask with squares (slice, first and last row and column)."""
    mask = np.zeros(shape, np.bool_)
    for number, first, last in planes:
        mask[number, first : last + 1, first : last + 1] = True
    return mask


@pytest.mark.parametrize("matrix", [AFFINE, TILTED, SHEARED])
def test_contours_fill_their_slices(matrix: Points) -> None:
    drawn = [square(2, 0.5, 2.5, matrix), square(0, -0.5, 3.5, matrix)]
    found = contours_of(structure_set([("GTV", drawn), ("Heart", [])]))
    assert found.labels == ("GTV", "Heart")
    assert np.array_equal(found.on(grid_of(matrix), "GTV"), squares((0, 0, 3), (2, 1, 2)))
    assert not found.on(grid_of(matrix), "Heart").any()


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_contour_within_another_is_a_hole(kind: str) -> None:
    found = contours_of(structure_set([("GTV", [square(1, -0.5, 3.5), square(1.02, 0.5, 2.5)])], kind))
    assert np.array_equal(found.on(grid_of(), "GTV"), squares((1, 0, 3)) & ~squares((1, 1, 2)))


@pytest.mark.parametrize("kind", ["OPEN_PLANAR", "POINT", "OPEN_NONPLANAR"])
def test_what_is_open_encloses_nothing(kind: str) -> None:
    assert not contours_of(structure_set([("GTV", [square(1, 0, 3)])], kind)).on(grid_of(), "GTV").any()


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (2, 0, 1)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_whichever_way_the_grid_is_turned(axes: tuple[int, int, int], flip: tuple[int, ...]) -> None:
    expected = squares((0, 0, 3), (2, 1, 2)).transpose(axes)
    matrix = AFFINE[:, [*axes, 3]].copy()
    for axis in flip:
        matrix[:3, 3] += matrix[:3, axis] * (expected.shape[axis] - 1)
        matrix[:3, axis] *= -1
    found = contours_of(structure_set([("GTV", [square(2, 0.5, 2.5), square(0, -0.5, 3.5)])]))
    grid = grid_of(matrix, (expected.shape[0], expected.shape[1], expected.shape[2]))
    assert np.array_equal(found.on(grid, "GTV"), np.flip(expected, flip))


@pytest.mark.parametrize(
    ("place", "slices"), [(0.9, [1]), (1.49, [1]), (1.51, [2]), (-0.4, [0]), (2.6, []), (-0.6, [])]
)
def test_a_contour_beside_a_slice_goes_to_the_nearest(place: float, slices: list[int]) -> None:
    mask = contours_of(structure_set([("GTV", [square(place, 0, 3)])])).on(grid_of(), "GTV")
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == slices


def test_of_planes_near_a_coarse_slice_the_nearest_is_drawn_not_their_difference() -> None:
    drawn = [square(1.3, 0, 0), square(1.1, 0, 3), square(0.8, 1, 1)]
    mask = contours_of(structure_set([("GTV", drawn)])).on(grid_of(), "GTV")
    assert np.array_equal(mask, squares((1, 0, 3)))


def test_a_fine_grid_between_contours_is_filled_on_demand() -> None:
    fine = AFFINE @ np.diag([1 / 3, 1, 1, 1])  # slices of 1 mm, contours every 3 mm
    found = contours_of(structure_set([("GTV", [square(0, 0, 3), square(1, 0, 3)])]))
    filled = found.on(grid_of(fine, (6, 4, 4)), "GTV", drawn_every_mm=3.0)
    assert filled.any(axis=(1, 2)).tolist() == [True] * 5 + [False]
    assert found.on(grid_of(fine, (6, 4, 4)), "GTV").any(axis=(1, 2)).tolist() == [True, False, False] * 2


def test_regions_of_one_name_are_one_mask() -> None:
    found = contours_of(structure_set([("GTV", [square(0, 0, 1)]), (" GTV ", [square(0, 1, 2)])]))
    assert np.array_equal(found.on(grid_of(), "GTV"), squares((0, 0, 1), (0, 1, 2)))


def test_the_frame_of_reference_must_be_the_images() -> None:
    found = contours_of(structure_set([("GTV", [square(0, 0, 1)])]))
    with pytest.raises(MaskError, match="other_frame"):
        found.on(grid_of(frame="1.2.3"), "GTV")
    assert found.on(grid_of(frame=None), "GTV").any()


def test_contours_oblique_to_the_grid_are_refused() -> None:
    found = contours_of(structure_set([("GTV", [square(0, 0, 3, TILTED)])]))
    with pytest.raises(MaskError, match="other_plane"):
        found.on(grid_of(), "GTV")


def test_no_such_region() -> None:
    with pytest.raises(MaskError, match="no_label"):
        contours_of(structure_set([("GTV", [])])).on(grid_of(), "PTV")


@pytest.mark.parametrize(
    "data",
    ["1\\2\\x", "1\\2", "1e999\\0\\0", "nan\\0\\0", "1e9\\0\\0", "1\\2\\3\\4"],
    ids=["word", "two", "inf", "nan", "far", "four"],
)
def test_coordinates_that_are_none_are_refused(tmp_path: Any, data: str) -> None:
    made = structure_set([("GTV", [square(0, 0, 3)])])
    path = tmp_path / "a.dcm"
    write_object(path, made)
    text = b"\\".join(str(value).encode() for value in made.ROIContourSequence[0].ContourSequence[0].ContourData)
    padded = data.encode().ljust(len(text))
    raw = path.read_bytes()
    assert raw.count(text) == 1
    path.write_bytes(raw.replace(text, padded))
    with pytest.raises(MaskError, match="unreadable"):
        contours_of(read_object(Location(path), 1 << 20))


def test_read_from_a_file_as_it_was_written(tmp_path: Any) -> None:
    path = tmp_path / "a.dcm"
    write_object(path, structure_set([("GTV", [square(1, 0.5, 2.5)])]))
    found = contours_of(read_object(Location(path), 1 << 20))
    assert np.array_equal(found.on(grid_of(), "GTV"), squares((1, 1, 2)))
    assert FRAME not in repr(found)


def test_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contours, "POINTS_LIMIT", 3)
    with pytest.raises(MaskError, match="too_large"):
        contours_of(structure_set([("GTV", [square(0, 0, 1)])]))


def test_a_region_without_a_number_is_refused() -> None:
    made = structure_set([("GTV", [])])
    del made.StructureSetROISequence[0].ROINumber
    with pytest.raises(MaskError, match="unreadable"):
        contours_of(made)
