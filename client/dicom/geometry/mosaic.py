"""Siemens mosaics: all slices of a volume as tiles of one picture (Image Type MOSAIC).

Guarantees: each tile that holds a slice is a frame, in the order of the tiles, row by row; the blank ones at the end
are none. Where a tile lies is known from the private header or not at all: which way slices run is never guessed.

Rules: n slices stand in a grid of ⌈√n⌉ × ⌈√n⌉ tiles. Image Position (Patient) is that of a picture as large as the
mosaic around the middle of the first slice, so the slice's own corner lies half of what the mosaic is larger from it.
Slices run along the private Slice Normal Vector, Spacing Between Slices (0018,0088) apart; without that vector, as the
protocol planned them, from the end of the plan at which the first tile lies.

    A mosaic of 384 × 384 with 33 slices has tiles of 64 × 64 in 6 rows of 6: `tile_of(dataset, 7)` is (64, 64, 64, 64).
"""

import math
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from client.dicom.geometry.csa import Plan, image_count, read_plan
from client.dicom.geometry.frame import Directions, Frame, Point
from client.dicom.geometry.grid import EVEN
from client.dicom.geometry.values import (
    directions,
    dot,
    matrix,
    moved,
    normal_of,
    number,
    phase_of,
    point,
    spacing,
    whole,
)
from client.dicom.reasons import LeftOutError, Reason

Tile = tuple[int, int, int, int]

#: Cosine between the private normal and that of the picture, from which they are one.
_PARALLEL = 0.999
#: A picture of more is not believed.
_MOST_TILES = 1024


@dataclass(frozen=True)
class _Grid:
    """`count` slices in a square of `side` × `side` tiles of `rows` × `columns`."""

    count: int
    side: int
    rows: int
    columns: int


def is_mosaic(dataset: Dataset) -> bool:
    """Whether the one picture of `dataset` is a mosaic, and private headers say of how many slices."""
    return (
        "MOSAIC" in (dataset.get("ImageType") or ())
        and whole(dataset.get("NumberOfFrames")) <= 1
        and _grid(dataset) is not None
    )


def tile_of(dataset: Dataset, index: int) -> Tile:
    """(first row, first column, rows, columns) of tile `index`, from 0, in the picture.

    Raises LeftOutError(unreadable) if the object is no mosaic with so many tiles.
    """
    grid = _grid(dataset)
    if grid is None or not 0 <= index < grid.count:
        raise LeftOutError(Reason.UNREADABLE)
    down, right = divmod(index, grid.side)
    return down * grid.rows, right * grid.columns, grid.rows, grid.columns


def mosaic_frames(dataset: Dataset) -> tuple[Frame, ...]:
    """The frame of each tile; () if the object is no mosaic whose tiles are known."""
    grid = _grid(dataset)
    if grid is None:
        return ()
    orientation = directions(dataset.get("ImageOrientationPatient"))
    distances = spacing(dataset.get("PixelSpacing"))
    places = _places(dataset, grid, orientation, distances)
    start = whole(dataset.get("InstanceNumber")) << 20
    phases = phase_of(dataset)
    return tuple(
        Frame(
            rows=grid.rows,
            columns=grid.columns,
            position=place,
            orientation=orientation,
            spacing=distances,
            number=start + index,
            phase=phases,
        )
        for index, place in enumerate(places)
    )


def _grid(dataset: Dataset) -> _Grid | None:
    (rows, columns), count = matrix(dataset), image_count(dataset)
    side = math.isqrt(count - 1) + 1 if count > 0 else 0
    if side == 0 or count > _MOST_TILES or rows % side or columns % side or min(rows, columns) < side:
        return None
    return _Grid(count, side, rows // side, columns // side)


def _places(
    dataset: Dataset, grid: _Grid, orientation: Directions | None, distances: tuple[float, float] | None
) -> list[Point | None]:
    """The position of each tile, LPS mm."""
    corner = point(dataset.get("ImagePositionPatient"))
    if corner is None or orientation is None or distances is None:
        return [None] * grid.count
    right, down = orientation[:3], orientation[3:]
    half = (grid.side - 1) / 2
    first = moved(corner, (half * grid.rows * distances[0], down), (half * grid.columns * distances[1], right))
    middle = moved(first, (grid.rows / 2 * distances[0], down), (grid.columns / 2 * distances[1], right))
    step = _step(number(dataset.get("SpacingBetweenSlices")), read_plan(dataset), normal_of(orientation), middle)
    if step is None:
        return [point(first)] if grid.count == 1 else [None] * grid.count
    return [point(moved(first, (index, step))) for index in range(grid.count)]


def _step(between: float | None, plan: Plan, normal: Point, middle: Point) -> Point | None:
    """LPS mm from a slice to the next, along `normal` or against it; `middle` is that of the first slice."""
    planned = _planned(plan, middle)
    distance = abs(between) if between else math.hypot(*planned) if planned else 0.0
    towards = plan.normal or planned
    if towards is None or not distance:
        return None
    if plan.normal is None and abs(math.hypot(*towards) - distance) > EVEN * distance:
        return None  # a plan of other slices
    cosine = dot(towards, normal) / (math.hypot(*towards) or 1.0)
    if abs(cosine) < _PARALLEL:
        return None
    x, y, z = (math.copysign(distance, cosine) * value for value in normal)
    return (x, y, z)


def _planned(plan: Plan, middle: Point) -> Point | None:
    """The step in the protocol's plan, from the end at which the first tile lies; None if it lies at neither."""
    if plan.centres is None or len(plan.centres) < 2:
        return None
    step = (plan.centres[-1] - plan.centres[0]) / (len(plan.centres) - 1)
    near = np.linalg.norm(plan.centres[[0, -1]] - np.array(middle), axis=1)
    if near.min() > np.linalg.norm(step) / 2:
        return None
    x, y, z = (step if near[0] < near[1] else -step).tolist()
    return (x, y, z)
