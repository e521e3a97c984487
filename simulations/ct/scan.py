"""A drawn trunk as one scanner sees it: Hounsfield units on its grid, and where liver and fluid are on the same grid.

Guarantees: no I/O; a voxel is of the liver where its centre is, while its value is the mean over the slice's thickness,
blurred and noisy, as an outline and an image are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from simulations.ct.drawing import Mask, Values, fluid, hounsfield, liver
from simulations.ct.scanners import Scanner
from simulations.ct.trunk import Trunk

#: From where to where a trunk is scanned, in its own mm, and by how much either end differs.
LOWEST, HIGHEST, SLACK = -128.0, 108.0, 8.0
#: Places within a slice, in its thickness, that are averaged.
WITHIN = (-0.3, 0.0, 0.3)
MM3_OF_ML = 1000.0


@dataclass(frozen=True)
class Scan:
    """`values` float32 in HU, `liver` and `fluid` bool, all [slices, rows, columns] from feet to head; `corner`: centre
    of the first voxel (x, y, z) and `spacing`: from one to the next (slice, row, column), LPS mm."""

    values: Values
    liver: Mask
    fluid: Mask
    corner: tuple[float, float, float]
    spacing: tuple[float, float, float]

    def millilitres(self, mask: Mask) -> float:
        """Volume of one of its masks."""
        return float(mask.sum() * np.prod(self.spacing) / MM3_OF_ML)


def scan(rng: np.random.Generator, trunk: Trunk, scanner: Scanner) -> Scan:
    """`trunk` on the table of `scanner`, never exactly in the middle nor from quite the same place upwards."""
    step, pixel = scanner.step_mm, scanner.field_mm / scanner.matrix
    low, high = LOWEST + rng.uniform(-SLACK, SLACK), HIGHEST + rng.uniform(-SLACK, SLACK)
    away = rng.uniform(-SLACK, SLACK, 2)
    z = np.arange(low, high, step, dtype=np.float32)[:, None, None]
    along = ((np.arange(scanner.matrix) + 0.5) * pixel - scanner.field_mm / 2).astype(np.float32)
    x, y = along[None, None, :] + np.float32(away[0]), along[None, :, None] + np.float32(away[1])
    contrast = rng.uniform(*scanner.contrast_hu)
    layers = (
        hounsfield(trunk, x, y, z + np.float32(part * scanner.thickness_mm), contrast_hu=contrast) for part in WITHIN
    )
    values = gaussian_filter(sum(layers) / np.float32(len(WITHIN)), (0, scanner.blur, scanner.blur))
    values += np.float32(scanner.noise_hu) * rng.standard_normal(values.shape, dtype=np.float32)
    table = float(np.round(rng.uniform(-1200, -300), 1))
    corner = (_rounded(x[0, 0, 0]), _rounded(y[0, 0, 0]), _rounded(table + low))
    return Scan(values, liver(trunk, x, y, z), fluid(trunk, x, y, z), corner, (step, pixel, pixel))


def _rounded(mm: float) -> float:
    """As headers write it."""
    return round(float(mm), 3)
