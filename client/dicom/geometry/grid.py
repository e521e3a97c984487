"""Whether points along a normal are the first voxels of the slices of one regular volume.

Guarantees: the distance of slices comes from positions alone (DICOM.md §2), and a regular volume's voxels lie where
its slices say, to 5 % of the slice distance; whatever is not regular gets the reason why.

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
#: Part of the slice distance by which a slice may lie beside its place in a regular volume.
EVEN = 0.05
#: Part of the slice distance by which a gap may differ from a whole number of them and still be missing slices.
WHOLE = 0.1


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
    to the normal: with a tilted gantry it is not. A lone slice gets a step of 1 mm along it.
    """
    count = len(points)
    if count == 1:
        return Fit(normal, 1.0, 0.0, Reason.TOO_FEW_SLICES)
    gaps = np.diff(points @ normal)
    distance = float(np.median(gaps))
    step = (points[-1] - points[0]) / (count - 1)
    beside = np.linalg.norm(step - (step @ normal) * normal)
    tilt = math.degrees(math.atan2(float(beside), float(step @ normal)))
    return Fit(step, distance, tilt, _reason(points, gaps, step, distance))


def _reason(points: Floats, gaps: Floats, step: Floats, distance: float) -> Reason | None:
    if gaps.min() <= SAME_MM:
        return Reason.SAME_POSITION
    ideal = points[0] + np.arange(len(points))[:, None] * step
    if np.abs(points - ideal).max() <= EVEN * distance:
        return None
    steps = gaps / distance
    if steps.max() > 1.5 and np.abs(steps - np.round(steps)).max() <= WHOLE:
        return Reason.MISSING_SLICES
    return Reason.UNEVEN_SLICES


def places(distances: Floats) -> NDArray[np.intp]:
    """The place, from 0 in growing order, of each distance along the normal: [n] mm → [n]."""
    order = np.argsort(distances, kind="stable")
    found = np.empty(len(distances), dtype=np.intp)
    found[order] = np.cumsum(np.diff(distances[order], prepend=distances[order[:1]]) > SAME_MM)
    return found
