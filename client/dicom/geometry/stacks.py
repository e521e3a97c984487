"""The frames of a series → the volumes in it, each with its affine, or the reason why frames make none.

Guarantees: every frame is in exactly one stack; slices are ordered by their positions along the normal, never by
Instance Number (PS3.3 C.7.6.2.1.1); the affine holds the true step between slices, sheared where a gantry was tilted;
the result does not depend on the order of the frames given; no I/O.

Rules: frames of one volume have one matrix size, one orientation, one spacing and one frame of reference, and are all
grey or all coloured; what separates volumes of the same geometry is decided in phases.py, what is regular in grid.py.

    >>> slices = [Frame(rows=4, columns=4, position=(0, 0, z), orientation=(1, 0, 0, 0, 1, 0), spacing=(1.0, 1.0))
    ...           for z in (6.0, 2.0, 4.0)]
    >>> stacks(slices)[0].frames, stacks(slices)[0].spacing
    ((1, 2, 0), (2.0, 1.0, 1.0))
"""

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.dicom.geometry.frame import APART, PHASE, Directions, Frame, Point
from client.dicom.geometry.grid import Fit, Floats, fit
from client.dicom.geometry.phases import Indices, Slices, volumes
from client.dicom.geometry.values import normal_of
from client.dicom.reasons import Reason

#: Frames whose unit vectors differ by no more lie in parallel planes; scanners and PACSs round.
_PARALLEL = 1e-3
#: Spacings that differ by no more than this part of them are one spacing.
_SPACING = 1e-3
#: Degrees below which the step counts as parallel to the normal: less than half a pixel over a usual volume.
_UPRIGHT = 0.1
#: After so many geometries in one series, which no scanner makes, every further frame stands alone: time stays bounded.
_MOST_GROUPS = 1000
_APART = tuple(map(PHASE.index, APART))


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames that belong together.

    `frames`: indices into the frames given, by growing distance along the normal (row direction × column direction);
    by number where there is none. `shape`: slices, rows, columns. `reason`: None for a regular volume, else why it is
    none. `affine`: float64 [4, 4], (slice, row, column, 1) → LPS mm; None if the frames have no regular place; a lone
    slice has one, its slice axis 1 mm long for want of another slice. `spacing`: mm between slices, rows, columns, the
    lengths of the affine's axes; without an affine the usual distance along the normal; None if unknown. `tilt`:
    degrees between slice axis and normal, 0 below 0.1.
    """

    frames: tuple[int, ...]
    shape: tuple[int, int, int]
    reason: Reason | None
    affine: Floats | None = None
    spacing: tuple[float, float, float] | None = None
    tilt: float = 0.0


def stacks(frames: Sequence[Frame]) -> tuple[Stack, ...]:
    """The stacks of `frames`, all those of one series, in an order that depends on their content only."""
    order = sorted(range(len(frames)), key=lambda index: _content(frames[index]))
    placed = [(index, place) for index in order if (place := _place(frames[index]))]
    nowhere = [index for index in order if _place(frames[index]) is None]
    groups = _groups(placed)
    return (*(stack for group in groups for stack in _volumes(frames, group)), *_without_place(frames, nowhere))


def _content(frame: Frame) -> tuple[object, ...]:
    """What a frame says, so that frames can be put in an order of their own."""
    geometry = (frame.orientation or (), frame.spacing or (), frame.position or ())
    return (frame.rows, frame.columns, *geometry, frame.phase, frame.number)


@dataclass(frozen=True)
class _Place:
    """A frame that says all there is to say."""

    rows: int
    columns: int
    position: Point
    orientation: Directions
    spacing: tuple[float, float]
    apart: tuple[str, ...]


def _place(frame: Frame) -> _Place | None:
    if frame.position is None or frame.orientation is None or frame.spacing is None:
        return None
    apart = tuple(frame.phase[attribute] if attribute < len(frame.phase) else "" for attribute in _APART)
    return _Place(frame.rows, frame.columns, frame.position, frame.orientation, frame.spacing, apart)


def _without_place(frames: Sequence[Frame], indices: list[int]) -> Iterator[Stack]:
    """One stack for each matrix size, in the order of the numbers."""
    key = operator.attrgetter("rows", "columns", "number")
    ordered = sorted(indices, key=lambda index: key(frames[index]))
    for (rows, columns), same in itertools.groupby(ordered, lambda index: key(frames[index])[:2]):
        members = tuple(same)
        yield Stack(members, (len(members), rows, columns), Reason.NO_GEOMETRY)


Group = list[tuple[int, _Place]]


def _groups(placed: Group) -> Iterator[Group]:
    """Frames of one matrix, orientation, spacing and APART, within the tolerances."""
    kinds: dict[tuple[str, ...], int] = {}
    table = np.array([_features(place, kinds.setdefault(place.apart, len(kinds))) for _, place in placed])
    left = np.arange(len(placed))
    for _ in range(_MOST_GROUPS):
        if not len(left):
            return
        alike = np.abs(table[left] - table[left[0]]).max(axis=1) <= 1
        yield [placed[at] for at in left[alike].tolist()]
        left = left[~alike]
    yield from ([placed[at]] for at in left.tolist())


def _features(place: _Place, kind: int) -> list[float]:
    """Numbers that differ by more than 1 between frames that cannot be in one volume. `kind` numbers `place.apart`."""
    directions = [value / _PARALLEL for value in place.orientation]
    distances = [math.log(mm) / _SPACING for mm in place.spacing]
    return [2.0 * place.rows, 2.0 * place.columns, 2.0 * kind, *directions, *distances]


def _volumes(frames: Sequence[Frame], group: Group) -> Iterator[Stack]:
    """The stacks of frames of one matrix, orientation and spacing."""
    normal = normal_of(group[0][1].orientation)
    if len(group) == 1:
        ((index, place),) = group
        yield _stack(
            (index,), place, fit(np.array([place.position], dtype=np.float64), np.array(normal, dtype=np.float64))
        )
        return
    slices = _slices([frames[index] for index, _ in group], [place for _, place in group])
    for part in volumes(slices, np.arange(len(group))):
        members = [group[at] for at in part.tolist()]
        yield _stack(tuple(index for index, _ in members), members[0][1], slices.fit(part))


def _slices(frames: list[Frame], places: list[_Place]) -> Slices:
    points = np.array([place.position for place in places], dtype=np.float64)
    directions = np.array(places[0].orientation, dtype=np.float64).reshape(2, 3)
    normal = np.cross(*directions)
    normal /= np.linalg.norm(normal)
    # a last attribute: where in their plane frames begin, to 0.1 mm; two volumes may lie side by side
    beside = np.unique(np.round(points @ directions.T, 1), axis=0, return_inverse=True)[1].reshape(-1)
    numbers = np.array([frame.number for frame in frames], dtype=np.int64)
    return Slices(points, normal, points @ normal, np.stack([*_phases(frames), beside]), numbers)


def _phases(frames: list[Frame]) -> Iterator[Indices]:
    """For each attribute of PHASE the code of each frame's value, growing with it."""
    for attribute in range(len(PHASE)):
        texts = [frame.phase[attribute] if attribute < len(frame.phase) else "" for frame in frames]
        codes = {text: code for code, text in enumerate(sorted(set(texts), key=_growing))}
        yield np.array([codes[text] for text in texts], dtype=np.intp)


def _growing(text: str) -> tuple[tuple[float, ...], str]:
    """Numbers by size, one value after the other; before them what is none."""
    return (tuple(map(_size, text.split("\\"))), text)


def _size(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return -math.inf
    return -math.inf if math.isnan(number) else number


def _stack(members: tuple[int, ...], first: _Place, found: Fit) -> Stack:
    """`first`: the place of the first slice."""
    shape = (len(members), first.rows, first.columns)
    if found.reason not in (None, Reason.TOO_FEW_SLICES):
        return Stack(members, shape, found.reason, spacing=(found.distance, *first.spacing))
    spacing = (float(np.linalg.norm(found.step)), *first.spacing)
    tilt = found.tilt if found.tilt >= _UPRIGHT else 0.0
    return Stack(members, shape, found.reason, _affine(first, found.step), spacing, tilt)


def _affine(first: _Place, step: Floats) -> NDArray[np.float64]:
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, with an axis for slices. The axis of the row index is the direction in
    which it grows, the orientation's second vector, times the distance of rows."""
    affine = np.eye(4)
    right, down = np.array(first.orientation).reshape(2, 3)
    affine[:3] = np.stack((step, down * first.spacing[0], right * first.spacing[1], first.position), axis=1)
    return affine
