"""An image of any size and pixel shape onto the study's grid: undistorted, centred on black.

Without a spacing the whole image is fitted into the grid. With one, a pixel of the grid is as large as the study says,
and the image is cropped or padded around its centre.

Antialiased bilinear (triangle filter as wide as the output's pixel), by Pillow in float32. The result is rounded to
multiples of 1/65535, so that the last bit of somebody's arithmetic does not make two hospitals differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from client.dicom.pixels.spacing import Spacing
from client.dicom.reasons import LeftOutError, Reason

#: Steps of the canonical tensor's values between 0 and 1.
LEVELS = np.float32(65535)


@dataclass(frozen=True)
class Placed:
    """Where an image lies on the grid: `inner` rows and columns of it, from `start` on, show of the image what lies
    between the edges `low` and `high` (row, column), in pixels of the image, its first pixel from 0 to 1."""

    inner: tuple[int, int]
    start: tuple[int, int]
    low: tuple[float, float]
    high: tuple[float, float]


def placed(
    image: tuple[int, int], size: tuple[int, int], spacing: Spacing, wanted: Sequence[float] | None = None
) -> Placed:
    """How an `image` of so many rows and columns, `spacing` apart, goes onto a grid of `size`.

    `wanted`: row and column distance of the result in mm; LeftOutError(no_geometry) if the image does not tell its own.
    """
    rows, columns = image
    if wanted is None:
        inner = _fitted(image, size, spacing)
        upper, left, lower, right = 0.0, 0.0, float(rows), float(columns)
    elif not spacing.millimetres:
        raise LeftOutError(Reason.NO_GEOMETRY)
    else:
        upper, lower, height = _cropped(rows, size[0], wanted[0] / spacing.row)
        left, right, width = _cropped(columns, size[1], wanted[1] / spacing.column)
        inner = height, width
    start = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    return Placed(inner, start, (upper, left), (lower, right))


def resample(
    channels: NDArray[np.float32], size: tuple[int, int], spacing: Spacing, wanted: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """`channels` [C, rows, columns] with row and column distances `spacing` → [C, *size], values in [0, 1].

    `wanted`: row and column distance of the result in mm; LeftOutError(no_geometry) if the image does not tell its own.
    """
    rows, columns = channels.shape[1:]
    place = placed((rows, columns), size, spacing, wanted)
    inner, (top, side) = place.inner, place.start
    box = (place.low[1], place.low[0], place.high[1], place.high[0])
    if inner == size == (rows, columns) and box == (0, 0, columns, rows):
        return rounded(channels)
    grid = np.zeros((len(channels), *size), dtype=np.float32)
    for plane, channel in zip(grid, channels, strict=True):
        small = Image.fromarray(channel).resize((inner[1], inner[0]), Image.Resampling.BILINEAR, box)
        plane[top : top + inner[0], side : side + inner[1]] = np.asarray(small)
    return rounded(grid)


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """`values` clipped to [0, 1], as multiples of 1/65535."""
    grid = np.clip(values, 0, 1)
    grid *= LEVELS
    np.rint(grid, out=grid)
    grid /= LEVELS
    return grid


def fits(image: tuple[int, int], size: tuple[int, int], spacing: Spacing) -> bool:
    """Whether an image of that size and spacing is the grid already, so that `resample` only rounds."""
    return image == size == _fitted(image, size, spacing)


def _fitted(image: tuple[int, int], size: tuple[int, int], spacing: Spacing) -> tuple[int, int]:
    """Rows and columns of the grid that the whole image fills."""
    height, width = image[0] * spacing.row, image[1] * spacing.column
    scale = min(size[0] / height, size[1] / width)
    # at least one pixel, at most the grid: rounding must not push a side beyond it
    return min(size[0], max(1, round(height * scale))), min(size[1], max(1, round(width * scale)))


def _cropped(pixels: int, size: int, step: float) -> tuple[float, float, int]:
    """Along one axis, with `step` of the image's pixels to one of the grid: first and last edge of what is seen, in
    pixels of the image, and its pixels in the grid."""
    inner = min(size, max(1, round(pixels / step)))
    half = min(inner * step, pixels) / 2
    return pixels / 2 - half, pixels / 2 + half, inner
