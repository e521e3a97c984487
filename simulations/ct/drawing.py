"""What a scanner would measure of a drawn trunk, voxel by voxel: Hounsfield units, liver and fluid. Pure.

Places are three arrays x, y, z in mm (simulations/ct/trunk.py) that broadcast to [slices, rows, columns]. Guarantees:
what `liver` and `fluid` say is what `hounsfield` shows; nothing else is drawn over either.

    >>> z, y, x = np.meshgrid(*[np.arange(-150.0, 150.0, 10.0)] * 3, indexing="ij", sparse=True)
    >>> hounsfield(draw_trunk(np.random.default_rng(1)), x, y, z).shape
    (30, 30, 30)
"""

import numpy as np
from numpy.typing import NDArray

from simulations.ct.trunk import Ellipsoid, Trunk

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Hounsfield units of what does not differ between patients.
AIR, LUNG, FAT = -1000.0, -840.0, -95.0
STOMACH, KIDNEY, BLOOD, SPLEEN = 22.0, 34.0, 42.0, 48.0
MUSCLE, BONE = 52.0, 240.0
#: Shares of the body's wall that are fat, and fat with muscle; then come the ribs.
SKIN, FLESH = 0.5, 0.85
#: mm from the axis to the middle of the spine and of the aorta; from one rib to the next.
SPINE_Y, AORTA, RIBS = 68.0, (22.0, 40.0), 27.0
#: mm by which the diaphragm falls towards the lungs' sides, and towards their front and back.
FALL_X, FALL_Y = 34.0, 58.0
#: The lung's own weight makes it denser towards the back: HU for each mm.
GRADIENT = 0.6
#: mm by which an effusion is less deep, for each mm above the right dome.
RISE = 0.2
#: Contrast medium in blood, spleen and kidneys, for each HU of it in the liver.
IN_BLOOD, IN_SPLEEN, IN_KIDNEYS = 1.6, 1.1, 2.4


def hounsfield(trunk: Trunk, x: Values, y: Values, z: Values, *, contrast_hu: float = 0.0) -> Values:
    """float32 [slices, rows, columns] in HU, without noise; `contrast_hu`: by how much contrast medium brightens the
    liver."""
    cavity, blood = _cavity(trunk, x, y), BLOOD + IN_BLOOD * contrast_hu
    bubble = _inside(trunk.stomach, x, y, z) & (y < trunk.stomach.centre[1] - 0.45 * trunk.stomach.radii[1])
    layers: tuple[tuple[Mask, Values | float], ...] = (
        (_within(trunk, x, y, 0), FAT),
        (_within(trunk, x, y, SKIN), MUSCLE),
        (_ribs(trunk, x, y, z), BONE),
        (cavity, FAT),
        (_circle(x - AORTA[0], y - AORTA[1], 0.6 * trunk.spine), blood),
        (_circle(x, y - SPINE_Y, trunk.spine), BONE - 60 + 40 * np.cos(2 * np.pi / 30 * z)),
        (_inside(trunk.stomach, x, y, z) & cavity, STOMACH),
        (bubble & cavity, AIR + 40),
        (_inside(trunk.spleen, x, y, z) & cavity, SPLEEN + IN_SPLEEN * contrast_hu),
        *((_inside(kidney, x, y, z) & cavity, KIDNEY + IN_KIDNEYS * contrast_hu) for kidney in trunk.kidneys),
        (_inside(trunk.heart, x, y, z) & cavity, blood),
        (liver(trunk, x, y, z), trunk.liver_hu + contrast_hu),
        (_pleura(trunk, x, y, z), LUNG + GRADIENT * y),
        (fluid(trunk, x, y, z), trunk.fluid_hu),
    )
    values = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), AIR, np.float32)
    for mask, level in layers:
        np.copyto(values, np.float32(level), where=mask)
    return values


def liver(trunk: Trunk, x: Values, y: Values, z: Values) -> Mask:
    """Both lobes below the diaphragm, bool [slices, rows, columns]."""
    lobes = _inside(trunk.liver[0], x, y, z) | _inside(trunk.liver[1], x, y, z)
    return lobes & _cavity(trunk, x, y) & (z < _diaphragm(trunk, x, y))


def fluid(trunk: Trunk, x: Values, y: Values, z: Values) -> Mask:
    """What lies at the back of the pleural spaces of a patient on the back, bool [slices, rows, columns]; deepest at
    the lungs' base."""
    level = [
        lung.centre[1] + lung.radii[1] - depth + RISE * np.maximum(z, 0) if depth else np.float32(np.inf)
        for lung, depth in zip(trunk.lungs, trunk.effusions, strict=True)
    ]
    return _pleura(trunk, x, y, z) & (y > np.where(x < 0, *level))


def _pleura(trunk: Trunk, x: Values, y: Values, z: Values) -> Mask:
    """Lungs and the fluid around them: above the diaphragm, beside heart and spine."""
    both = _inside(trunk.lungs[0], x, y, z) | _inside(trunk.lungs[1], x, y, z)
    return both & _cavity(trunk, x, y) & (z > _diaphragm(trunk, x, y)) & ~_inside(trunk.heart, x, y, z)


def _diaphragm(trunk: Trunk, x: Values, y: Values) -> Values:
    """Its height, [1, rows, columns]: two domes, the higher of them."""
    heights = [
        dome
        - FALL_X * ((x - lung.centre[0]) / lung.radii[0]) ** 2
        - FALL_Y * ((y - lung.centre[1]) / lung.radii[1]) ** 2
        for dome, lung in zip(trunk.domes, trunk.lungs, strict=True)
    ]
    higher: Values = np.maximum(*heights)
    return higher


def _within(trunk: Trunk, x: Values, y: Values, share: float) -> Mask:
    """The body without the outer `share` of its wall."""
    wide, deep = (half - share * trunk.wall for half in trunk.body)
    inside: Mask = (x / wide) ** 2 + (y / deep) ** 2 < 1
    return inside


def _cavity(trunk: Trunk, x: Values, y: Values) -> Mask:
    """Within the ribs, in front of and beside the spine and the aorta."""
    behind = _circle(x, y - SPINE_Y, trunk.spine + 3) | _circle(x - AORTA[0], y - AORTA[1], 0.6 * trunk.spine)
    return _within(trunk, x, y, 1) & ~behind


def _ribs(trunk: Trunk, x: Values, y: Values, z: Values) -> Mask:
    """Arches that fall from the back to the front."""
    turns = (z - 0.35 * y) / RIBS + trunk.rib_phase
    bone: Mask = _within(trunk, x, y, FLESH) & (np.cos(2 * np.pi * turns) > 0.3)
    return bone


def _inside(organ: Ellipsoid, x: Values, y: Values, z: Values) -> Mask:
    (a, b, c), (u, v, w) = organ.radii, organ.centre
    inside: Mask = ((x - u) / a) ** 2 + ((y - v) / b) ** 2 + ((z - w) / c) ** 2 < 1
    return inside


def _circle(x: Values, y: Values, radius: float) -> Mask:
    inside: Mask = x**2 + y**2 < radius**2
    return inside
