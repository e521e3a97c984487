"""An image of any size and pixel shape onto the study's grid: whole, undistorted, centred on black.

Antialiased bilinear (triangle filter as wide as the output's pixel), by Pillow in float32. The result is rounded to
multiples of 1/65535, so that the last bit of somebody's arithmetic does not make two hospitals differ.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Steps of the canonical tensor's values between 0 and 1.
LEVELS = np.float32(65535)


def resample(channels: NDArray[np.float32], size: tuple[int, int], spacing: tuple[float, float]) -> NDArray[np.float32]:
    """`channels` [C, rows, columns] with row and column distances `spacing` → [C, *size], values in [0, 1]."""
    rows, columns = channels.shape[1:]
    height, width = rows * spacing[0], columns * spacing[1]
    scale = min(size[0] / height, size[1] / width)
    # at least one pixel, at most the grid: rounding must not push a side beyond it
    inner = min(size[0], max(1, round(height * scale))), min(size[1], max(1, round(width * scale)))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    grid = np.zeros((len(channels), *size), dtype=np.float32)
    for plane, channel in zip(grid, channels, strict=True):
        small = Image.fromarray(channel).resize((inner[1], inner[0]), Image.Resampling.BILINEAR)
        plane[top : top + inner[0], left : left + inner[1]] = np.asarray(small)
    np.clip(grid, 0, 1, out=grid)
    np.rint(grid * LEVELS, out=grid)
    grid /= LEVELS
    return grid
