"""Grey planes → one volume of the canonical tensor, or a slice with its neighbours as channels.

Guarantees: a volume's axes run towards the head, the back and the left, whatever the scanner's order; with a spacing
asked for, the grid is regular and square to the patient, so that a tilted gantry or an oblique scan lies as the patient
does; without one, the scanner's own grid is kept, sheared or not, and fitted whole into the tensor. Every plane has its
own modality transform; window and polarity are the same for all. What lies outside the scan is 0.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from client.dicom.pixels.colour import Colour
from client.dicom.pixels.grey import Grey, joint_percentiles
from client.dicom.pixels.resample import resample, rounded
from client.dicom.reasons import LeftOutError, Reason
from shared.study import Input

Plane = Grey | Colour
Voxels = NDArray[np.float32]
Affine = NDArray[np.float64]

#: Voxels of the largest volume, 2 GiB as float32.
VOXELS_LIMIT = 1 << 29
#: LPS coordinates of a step along each axis of the tensor: slices to the head, rows to the back, columns to the left.
AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def canonical_volume(planes: Sequence[Plane], affine: Affine, spec: Input) -> Voxels:
    """float32 `spec.shape` in [0, 1] of `planes`, whose voxel (slice, row, column) lies where the 4 × 4 `affine` says,
    in mm (LPS)."""
    shape = (len(planes), *planes[0].shape)
    if any(plane.shape != shape[1:] for plane in planes):  # the pixels are not what the header said
        raise LeftOutError(Reason.DECODE_FAILED)
    if math.prod(shape) > VOXELS_LIMIT:
        raise LeftOutError(Reason.TOO_LARGE)
    shown = np.empty(shape, np.float32)
    for number, plane in enumerate(shown_alike(planes, spec)):
        shown[number] = plane
    size = (spec.size[0], spec.size[1], spec.size[2])
    onto, start = regular_grid(affine, shape, size, spec.spacing) if spec.spacing else fitted_grid(affine, shape, size)
    return rounded(sampled(shown, onto, start, size))[None]


def canonical_stack(planes: Sequence[Plane], spec: Input) -> Voxels:
    """float32 `spec.shape`: 2 × neighbours + 1 planes as channels, each fitted as an image is."""
    shown = np.stack(list(shown_alike(planes, spec)))
    return resample(shown, (spec.size[0], spec.size[1]), planes[0].spacing, spec.spacing)


def shown_alike(planes: Sequence[Plane], spec: Input) -> Sequence[Voxels]:
    """Each plane in [0, 1] through one window: the study's, the middle plane's own, or percentiles over all planes. Of
    coloured planes the luma, which knows no window."""
    grey = [plane for plane in planes if isinstance(plane, Grey)]
    if not grey:
        return [plane.shown(color=False)[0] for plane in planes if isinstance(plane, Colour)]
    if len(grey) < len(planes):  # the header said that all are alike
        raise LeftOutError(Reason.DECODE_FAILED)
    window = grey[len(grey) // 2].window(spec) or joint_percentiles(grey)
    return [plane.through(window) for plane in grey]


def fitted_grid(affine: Affine, shape: tuple[int, ...], size: tuple[int, int, int]) -> tuple[Affine, Affine]:
    """The map from tensor index to voxel index, [3, 3] and [3], that keeps the scanner's grid: axes swapped and turned
    to the nearest of `AXES`, one scale for all, centred."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order = nearest_axes(directions)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    extents = np.array([shape[axis] * spacing[axis] for axis in order])
    step = float((extents / np.array(size)).max())  # mm of the tensor's voxel
    onto = np.zeros((3, 3))
    for place, axis in enumerate(order):
        onto[axis, place] = np.sign(AXES[place] @ directions[:, axis]) * step / spacing[axis]
    return onto, _centred(onto, shape, size)


def regular_grid(
    affine: Affine, shape: tuple[int, ...], size: tuple[int, int, int], spacing: Sequence[float]
) -> tuple[Affine, Affine]:
    """The same map to a grid along `AXES` with `spacing` mm around the middle of the scan."""
    steps = (AXES * np.asarray(spacing)[:, None]).T  # [LPS, axis of the tensor], mm
    onto = np.linalg.solve(affine[:3, :3], steps)
    return onto, _centred(onto, shape, size)


def nearest_axes(directions: Affine) -> tuple[int, int, int]:
    """For each of `AXES` the voxel axis nearest to it; all different. `directions`: unit vectors in columns."""
    likeness = np.abs(AXES @ directions)  # [axis of the tensor, voxel axis]
    order = [-1, -1, -1]
    for _ in range(3):
        place, axis = np.unravel_index(np.argmax(likeness), likeness.shape)
        order[int(place)] = int(axis)
        likeness[place, :] = likeness[:, axis] = -1
    return order[0], order[1], order[2]


def _centred(onto: Affine, shape: tuple[int, ...], size: tuple[int, int, int]) -> Affine:
    """The voxel index of tensor index 0 such that both middles coincide."""
    middle = (np.array(shape) - 1) / 2
    moved: Affine = middle - onto @ ((np.array(size) - 1) / 2)
    return moved


def sampled(shown: Voxels, onto: Affine, start: Affine, size: tuple[int, int, int]) -> Voxels:
    """Trilinear values of `shown` at voxel indices `onto` @ index + `start`, smoothed first where the new grid is
    coarser (σ of half the step less one, as in scikit-image's `resize`); 0 outside the outermost voxels' halves."""
    from scipy.ndimage import gaussian_filter, map_coordinates  # noqa: PLC0415  half of a decoding process's start

    steps = np.abs(onto).max(axis=1)  # voxels passed per step of the tensor, by voxel axis
    sigma = np.maximum(0.0, (steps - 1) / 2)
    if sigma.any():
        shown = gaussian_filter(shown, sigma, mode="nearest", truncate=3.0)
    grid = np.empty(size, np.float32)
    for number, (where, inside) in enumerate(places(onto, start, size, shown.shape)):
        values = map_coordinates(shown, where, order=1, mode="nearest", output=np.float32)
        grid[number] = np.where(inside, values, 0)
    return grid


def places(
    onto: Affine, start: Affine, size: tuple[int, int, int], shape: tuple[int, ...]
) -> Iterator[tuple[list[Affine], NDArray[np.bool_]]]:
    """For each slice of a tensor of `size`: where its voxels lie along each axis of a volume of `shape`, [rows,
    columns] each, and which of them lie within the outermost voxels' halves. An image and its mask are sampled here."""
    rows, columns = np.meshgrid(np.arange(size[1]), np.arange(size[2]), indexing="ij")
    for number in range(size[0]):
        # written out, not as a product of matrices: those round differently from machine to machine
        where = [
            start[axis] + onto[axis, 0] * number + onto[axis, 1] * rows + onto[axis, 2] * columns for axis in range(3)
        ]
        inside = np.ones(size[1:], np.bool_)
        for axis in range(3):
            inside &= (where[axis] >= -0.5) & (where[axis] <= shape[axis] - 0.5)
        yield where, inside
