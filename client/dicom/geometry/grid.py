"""Whether points along a normal are the first voxels of the slices of one regular volume.

Guarantees: the distance of slices comes from positions alone (DICOM.md §2), and a regular volume's voxels lie where
its slices say, to 5 % of the slice distance; its slices lie above each other rather than side by side: the step leans
from the normal by no more than 45°. Whatever is not regular gets the reason why.

    >>> fit(np.array([[0.0, 0, 0], [0, 0, 2], [0, 0, 4], [0, 0, 8]]), np.array([0.0, 0, 1])).reason
    <Reason.MISSING_SLICES: 'missing_slices'>
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.dicom.reasons import Reason

Floats = NDArray[np.float64]

#: mm along the normal within which two frames are at one place: more than headers round, less than slices lie apart.
SAME_MM = 0.005
#: mm by which a table comes back to another place when a scan is repeated; counts only where every place repeats.
MOVED_MM = 0.05
#: Part of the slice distance by which a slice may lie beside its place in a regular volume.
EVEN = 0.05
#: Part of the slice distance by which a gap may differ from a whole number of them and still be missing slices.
WHOLE = 0.1
#: Degrees between step and normal: a gantry tilts by 30. Two slices anywhere have a step; beyond this it is none.
STEEPEST = 45.0


@dataclass(frozen=True, eq=False)
class Fit:
    """`step`: LPS mm [3] from a slice to the next; `distance`: between neighbours along the normal, in mm, the usual
    one; `tilt`: degrees between step and normal; `reason`: why this is no volume, None if it is one."""

    step: Floats
    distance: float
    tilt: float
    reason: Reason | None


def fit(points: Floats, normal: Floats) -> Fit:
    """`points`: LPS mm [slices, 3], by growing distance along the unit vector `normal` [3]; at least one.

    The step runs from the first to the last slice, so that roundings in between do not add up. It need not be parallel
    to the normal: with a tilted gantry it is not, but beyond STEEPEST it joins what lies side by side, and the slices
    are uneven. A lone slice gets a step of 1 mm along it.
    """
    count = len(points)
    if count == 1:
        return Fit(normal, 1.0, 0.0, Reason.TOO_FEW_SLICES)
    gaps = np.diff(points @ normal)
    distance = float(np.median(gaps))
    step = (points[-1] - points[0]) / (count - 1)
    beside = np.linalg.norm(step - (step @ normal) * normal)
    tilt = math.degrees(math.atan2(float(beside), float(step @ normal)))
    if places(points @ normal)[-1] + 1 < count:
        return Fit(step, distance, tilt, Reason.SAME_POSITION)
    return Fit(step, distance, tilt, _reason(points, gaps, step, distance, tilt))


def _reason(points: Floats, gaps: Floats, step: Floats, distance: float, tilt: float) -> Reason | None:
    """Of slices at different places."""
    ideal = points[0] + np.arange(len(points))[:, None] * step
    if np.abs(points - ideal).max() <= EVEN * distance:
        return None if tilt <= STEEPEST else Reason.UNEVEN_SLICES
    steps = gaps / distance
    if steps.max() > 1.5 and np.abs(steps - np.round(steps)).max() <= WHOLE:
        return Reason.MISSING_SLICES
    return Reason.UNEVEN_SLICES


def places(distances: Floats) -> NDArray[np.intp]:
    """The place, from 0 in growing order, of each distance along the normal: [n] mm → [n].

    Where every place repeats, a repeat may lie up to MOVED_MM beside it, which must be little for the slice distance:
    slices of the retina lie closer than a table moves.
    """
    order = np.argsort(distances, kind="stable")
    gaps = np.diff(distances[order], prepend=distances[order[:1]])
    moved = np.cumsum(gaps > MOVED_MM)
    between = gaps[gaps > MOVED_MM]
    repeated = bool(len(between) and np.bincount(moved).min() > 1 and between.min() * EVEN >= MOVED_MM)
    found = np.empty(len(distances), dtype=np.intp)
    found[order] = moved if repeated else np.cumsum(gaps > SAME_MM)
    return found
