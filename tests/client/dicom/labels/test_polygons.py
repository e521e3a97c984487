import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.dicom.labels.polygons import fill


def points(*corners: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(corners, dtype=np.float64)


def drawn(*polygons: NDArray[np.float64], shape: tuple[int, int] = (5, 6)) -> list[str]:
    return ["".join(".#"[value] for value in row) for row in fill(polygons, shape).astype(int)]


SQUARE = points((0.5, 0.5), (0.5, 4.5), (3.5, 4.5), (3.5, 0.5))


def test_centres_inside() -> None:
    assert drawn(SQUARE) == ["......", ".####.", ".####.", ".####.", "......"]


def test_a_polygon_within_a_polygon_is_a_hole() -> None:
    hole = points((1.5, 1.5), (1.5, 3.5), (2.5, 3.5), (2.5, 1.5))
    assert drawn(SQUARE, hole) == ["......", ".####.", ".#..#.", ".####.", "......"]


def test_centres_on_the_outline_belong_to_it_on_all_sides() -> None:
    assert drawn(points((1, 1), (1, 4), (3, 4), (3, 1))) == ["......", ".####.", ".####.", ".####.", "......"]
    assert drawn(points((2, 0), (0, 2), (2, 4), (4, 2))) == ["..#...", ".###..", "#####.", ".###..", "..#..."]


def test_a_keyhole_is_a_hole_and_its_channel_is_not_drawn() -> None:
    outer = [(-0.5, -0.5), (-0.5, 5.5), (4.5, 5.5), (4.5, -0.5), (2.0, -0.5)]
    channel_and_hole = [(2.0, 1.5), (0.5, 1.5), (0.5, 4.5), (3.5, 4.5), (3.5, 1.5), (2.0, 1.5), (2.0, -0.5)]
    assert drawn(points(*outer, *channel_and_hole)) == ["######", "##...#", "##...#", "##...#", "######"]


def test_two_polygons_that_share_an_edge_are_one_area() -> None:
    left, right = points((0, 0), (0, 2), (3, 2), (3, 0)), points((0, 2), (0, 4), (3, 4), (3, 2))
    assert drawn(left, right) == ["#####.", "#####.", "#####.", "#####.", "......"]


def test_what_reaches_beyond_the_grid_is_cut() -> None:
    assert drawn(points((-9e9, -9e9), (-9e9, 2.5), (9e9, 2.5), (9e9, -9e9))) == ["###..."] * 5
    assert drawn(points((7, 7), (7, 9), (9, 9))) == ["......"] * 5


@pytest.mark.parametrize("polygon", [points((1, 1)), points((1, 1), (3, 3)), points()])
def test_less_than_three_corners_enclose_nothing(polygon: NDArray[np.float64]) -> None:
    assert drawn(polygon) == ["......"] * 5


def test_nothing_drawn_is_nothing() -> None:
    assert not fill([], (2, 2)).any()


CORNERS = st.lists(st.tuples(st.integers(-2, 14), st.integers(-2, 14)), min_size=3, max_size=7)


@given(CORNERS)
def test_turned_mirrored_or_drawn_backwards_it_is_the_same(corners: list[tuple[int, int]]) -> None:
    polygon = points(*corners) / 2  # corners on centres and halfway
    mask = fill([polygon], (6, 6))
    assert np.array_equal(fill([polygon[::-1]], (6, 6)), mask)
    assert np.array_equal(fill([polygon[:, ::-1]], (6, 6)), mask.T)
    assert np.array_equal(fill([5 - polygon], (6, 6)), mask[::-1, ::-1])
    assert np.array_equal(fill([polygon * (1, -1) + (0, 5)], (6, 6)), mask[:, ::-1])
    assert np.array_equal(fill([polygon * (-1, 1) + (5, 0)], (6, 6)), mask[::-1])
