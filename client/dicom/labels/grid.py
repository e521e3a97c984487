"""The voxels that a mask is wanted for, and the nearest of a mask's own pixels to each of them.

Guarantees: masks meet images by position in the patient, in mm, never by the order or number of slices; every voxel
takes the one pixel it lies in, halfway the one further along; outside the mask's planes there is nothing. Pure.

    >>> grid = Grid(affine=(0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1), shape=(3, 4, 4))
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from client.dicom.geometry.frame import Frame
from client.dicom.geometry.values import normal_of
from client.dicom.labels.faults import MaskError, MaskFault

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: mm by which positions of one plane differ, as headers round.
SAME_MM = 0.01
#: mm; what varies less over a slice is taken for constant, and halfway means this near to it.
_FINE_MM = 1e-4
#: By which unit vectors of parallel planes differ at most.
_PARALLEL = 1e-3


@dataclass(frozen=True)
class Grid:
    """`shape`: slices, rows, columns; `affine`: 4 × 4 row by row, (slice, row, column, 1) → LPS mm, as Item.affine.

    `frame_of_reference`: the images' (0020,0052); None if unknown, then the caller vouches that it is the mask's.
    """

    affine: tuple[float, ...]
    shape: tuple[int, int, int]
    frame_of_reference: str | None = field(default=None, repr=False)

    @property
    def matrix(self) -> Floats:
        """float64 [4, 4]."""
        return np.array(self.affine, dtype=np.float64).reshape(4, 4)

    def require_frame(self, frame_of_reference: str) -> None:
        """Raises MaskError(other_frame) unless a mask in `frame_of_reference` lies in the same space."""
        if self.frame_of_reference is not None and self.frame_of_reference != frame_of_reference:
            raise MaskError(MaskFault.OTHER_FRAME)


@dataclass(frozen=True, eq=False)
class Planes:
    """Parallel planes of `rows` × `columns` pixels. `axes`: [3, 3], unit vectors of the normal, of growing row and of
    growing column; `corners`: [planes, 3], first pixels in those axes, mm, by growing distance along the normal;
    `half`: mm on either side for which a plane speaks."""

    axes: Floats
    corners: Floats
    spacing: tuple[float, float]
    size: tuple[int, int]
    half: float

    def lookup(self, grid: Grid, number: int) -> tuple[Indices, Indices, Indices, Mask]:
        """Plane, row and column of the pixel that each voxel of slice `number` lies in, and whether it lies in any.

        All four broadcast to [rows, columns] of the grid; an index that does not vary along an axis has length 1 there.
        """
        start, down, right = (self.axes @ vector for vector in _slice(grid, number))
        across, along_rows, along_columns = (
            _varying(start[axis], down[axis], right[axis], grid.shape[1:]) for axis in range(3)
        )
        distances = self.corners[:, 0]
        plane = np.searchsorted(distances - self.half - _FINE_MM, across, side="right") - 1
        inside = (plane >= 0) & (across < distances[plane] + self.half - _FINE_MM)
        row = _nearest((along_rows - self.corners[plane, 1]) / self.spacing[0])
        column = _nearest((along_columns - self.corners[plane, 2]) / self.spacing[1])
        inside = inside & (row >= 0) & (row < self.size[0]) & (column >= 0) & (column < self.size[1])
        return plane, row.clip(0, self.size[0] - 1), column.clip(0, self.size[1] - 1), inside


def planes_of(frames: Sequence[Frame], step_mm: float | None, grid: Grid) -> tuple[Planes, list[int]]:
    """The planes in which `frames` lie, and the plane of each. Raises MaskError (no_geometry, unsupported).

    A plane speaks for half the distance to the next: the least between any two, or `step_mm`, what the object says of
    it, where that is less, as it is when planes without a pixel were left out; for a lone plane the grid's step.
    """
    if any(frame.position is None or frame.orientation is None or frame.spacing is None for frame in frames):
        raise MaskError(MaskFault.NO_GEOMETRY)
    first = frames[0]
    orientation, spacing = first.orientation, first.spacing
    if orientation is None or spacing is None or not all(_alike(frame, first) for frame in frames):
        raise MaskError(MaskFault.UNSUPPORTED)
    axes = np.array([normal_of(orientation), orientation[3:], orientation[:3]])
    corners = np.array([frame.position for frame in frames]) @ axes.T  # [frames, normal, row and column]
    order = np.argsort(corners[:, 0], kind="stable")
    fresh = np.diff(corners[order, 0], prepend=-np.inf) > SAME_MM
    place = np.empty(len(frames), np.intp)
    place[order] = np.cumsum(fresh) - 1
    kept = corners[order][fresh]
    known = [float(gap) for gap in np.diff(kept[:, 0])] + ([step_mm] if step_mm else [])
    step = min(known) if known else float(np.abs(axes[0] @ grid.matrix[:3, :3]).max())
    return Planes(axes, kept, spacing, (first.rows, first.columns), step / 2), place.tolist()


def nearest_voxels(grid: Grid, number: int, affine: Floats, shape: tuple[int, ...]) -> tuple[tuple[Indices, ...], Mask]:
    """Of the volume of `shape` that lies where `affine` [4, 4] says, sheared or not: indices of the voxel that each
    voxel of slice `number` of `grid` lies in, and whether it lies in any; broadcasting as Planes.lookup's do."""
    onto = (np.linalg.inv(affine) @ grid.matrix)[:3]
    start = onto[:, 3] + number * onto[:, 0]
    indices = tuple(_nearest(_varying(start[axis], onto[axis, 1], onto[axis, 2], grid.shape[1:])) for axis in range(3))
    inside: Mask = np.ones((1, 1), np.bool_)
    for index, size in zip(indices, shape, strict=True):
        inside = inside & (index >= 0) & (index < size)
    return tuple(index.clip(0, size - 1) for index, size in zip(indices, shape, strict=True)), inside


def _alike(frame: Frame, other: Frame) -> bool:
    """Whether two frames differ in position only."""
    return (frame.rows, frame.columns) == (other.rows, other.columns) and (
        np.allclose(frame.orientation or (), other.orientation or (), rtol=0, atol=_PARALLEL)
        and np.allclose(frame.spacing or (), other.spacing or (), rtol=_PARALLEL)
    )


def _slice(grid: Grid, number: int) -> tuple[Floats, Floats, Floats]:
    """Of slice `number`: LPS of its first voxel, the step of a row, the step of a column."""
    matrix = grid.matrix[:3]
    return matrix[:, 3] + number * matrix[:, 0], matrix[:, 1], matrix[:, 2]


def _varying(start: float, down: float, right: float, shape: tuple[int, ...]) -> Floats:
    """`start` + row × `down` + column × `right`; axes along which that hardly changes have length 1."""
    rows = np.arange(shape[0] if abs(down) * shape[0] > _FINE_MM else 1)[:, None]
    columns = np.arange(shape[1] if abs(right) * shape[1] > _FINE_MM else 1)[None, :]
    values: Floats = start + rows * down + columns * right
    return values


def _nearest(values: Floats) -> Indices:
    return np.floor(values + 0.5 + _FINE_MM).astype(np.intp)
