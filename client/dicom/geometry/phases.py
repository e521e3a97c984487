"""Several volumes in one series: times, echoes, b-values, magnitude and phase. Which frames belong together?

Guarantees: what differs in contrast or in Temporal Position is never one volume, even if all its slices together are
even. Any other attribute splits a series only where it must, because frames share a place or lie unevenly, and only
into parts that make sense as volumes: a CT whose Acquisition Number changes half way stays whole. A value of each slice
counts slices, and splits nothing. What nothing tells apart stays together, for `stacks` to leave out by its reason.
Each frame ends in exactly one part.

Where places repeat, in this order:
1. An attribute of which every value has every place exactly once: the parts are volumes.
2. One of which every value has every place: it splits, and others split the parts.
3. An order in time (rising at each place, but with other values from place to place, as trigger times have): the first
   of each place, the second of each ...
4. An attribute that leaves most frames in regular volumes: the others are of one that was not finished, or of images
   taken again and again at one place, as when a bolus is awaited.
5. A contrast of which no value has a place twice: slices are missing in each of its parts.
6. The order of the Instance Numbers, where each place has as many frames.

Where none does:
7. A contrast whose every value is a regular volume of two slices or more; of two slices alone, any that differs.
8. Where slices lie unevenly: an attribute whose values are regular volumes, cutting no even run.
9. Two slices that lie side by side rather than above each other are two.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from client.dicom.geometry.frame import PHASE
from client.dicom.geometry.grid import EVEN, STEEPEST, Fit, Floats, fit, places

Indices = NDArray[np.intp]

#: of PHASE, what orders frames in time even where its values differ from place to place
_IN_TIME = tuple(PHASE.index(name) for name in ("temporal", "trigger", "acquisition"))
#: what images of one volume share, whatever their places (DICOM.md §2, "split before stacking"); the others may count
_CONTRAST = tuple(PHASE.index(name) for name in ("image_type", "echo_time", "b_value", "gradient", "temporal"))
#: when a slice was taken: slices of one shot, evenly spread over a volume, would pass for a regular one (rules 4 and 8)
_SHOT = frozenset((PHASE.index("acquisition_time"),))
#: what says nothing unless places repeat (rule 8): the beds of a PET scan have a time each
_CLOCK = _SHOT | {PHASE.index("reference_time")}


@dataclass(frozen=True, eq=False)
class Slices:
    """Frames of one matrix, orientation and spacing. `points`: [n, 3] LPS mm; `normal`: unit [3]; `distances`: [n] mm
    along it; `phases`: [attributes, n], codes in growing order of the values of an attribute; `numbers`: [n]."""

    points: Floats
    normal: Floats
    distances: Floats
    phases: Indices
    numbers: NDArray[np.int64]

    def sorted(self, chosen: Indices) -> Indices:
        """`chosen` by growing distance along the normal."""
        return chosen[np.argsort(self.distances[chosen], kind="stable")]

    def fit(self, chosen: Indices) -> Fit:
        """Of the volume that `chosen`, sorted, would be."""
        return fit(self.points[chosen], self.normal)


def volumes(slices: Slices, chosen: Indices) -> list[Indices]:
    """`chosen` in parts, each sorted along the normal and no longer to be split."""
    return _volumes(slices, chosen, _CONTRAST)


def _volumes(slices: Slices, chosen: Indices, contrast: tuple[int, ...]) -> list[Indices]:
    """`contrast`: the attributes of rules 5 and 7."""
    chosen = slices.sorted(chosen)
    if len(chosen) == 1:
        return [chosen]
    place = places(slices.distances[chosen])
    if place[-1] + 1 < len(chosen):
        code, contrast = _shared_places(slices, chosen, place, contrast)
    else:
        code = _different(slices, chosen, contrast)
        if code is None:
            code = _uneven(slices, chosen)
    if code is None:
        return [chosen]
    return [volume for part in _parts(chosen, code) for volume in _volumes(slices, part, contrast)]


def _codes(slices: Slices, chosen: Indices, attributes: Iterable[int]) -> Iterator[tuple[int, Indices]]:
    """Each attribute with several values among `chosen`, and the value of each frame, from 0, none left out."""
    for attribute in attributes:
        found, code = np.unique(slices.phases[attribute, chosen], return_inverse=True)
        if len(found) > 1:
            yield attribute, code


def _shared_places(
    slices: Slices, chosen: Indices, place: Indices, contrast: tuple[int, ...]
) -> tuple[Indices | None, tuple[int, ...]]:
    """The value of each frame in the attribute, or order, that tells apart those at one place; rules 1 to 6. And which
    of `contrast` still count in the parts: none after an order, for what it ordered by differs from slice to slice;
    none of which every value has every place, for within a part it would run across."""
    codes = dict(_codes(slices, chosen, range(len(slices.phases))))
    spread = {attribute: _spread(code, place) for attribute, code in codes.items()}
    left = tuple(each for each in contrast if each not in spread or not spread[each].everywhere)
    for wanted in (_Spread(everywhere=True, once=True), _Spread(everywhere=True, once=False)):
        for attribute, found in spread.items():
            if found == wanted:
                return codes[attribute], left
    for attribute in _IN_TIME:
        if (rank := _ranks(slices.phases[attribute, chosen], place)) is not None:
            return rank, ()
    for attribute, code in codes.items():
        if attribute not in _SHOT and _mostly_regular(slices, _parts(chosen, code)):
            return code, left
    for attribute in contrast:
        if attribute in codes and spread[attribute].once and np.bincount(codes[attribute]).min() > 1:
            return codes[attribute], left
    return _ranks(slices.numbers[chosen], place), ()


class _Spread(NamedTuple):
    """Whether each value has every place, and whether no value has a place twice."""

    everywhere: bool
    once: bool


def _spread(code: Indices, place: Indices) -> _Spread:
    count = int(place.max()) + 1
    pairs = len(np.unique(code * count + place))
    return _Spread(everywhere=pairs == (int(code.max()) + 1) * count, once=pairs == len(code))


def _ranks(values: NDArray[np.int64] | Indices, place: Indices) -> Indices | None:
    """The rank of each frame by `values` among those at its place. None if places have not the same number of
    frames, or values repeat at a place: then the order says nothing."""
    frames = np.bincount(place)
    if frames.min() != frames.max():
        return None
    order = np.lexsort((values, place))
    table = values[order].reshape(len(frames), -1)  # [places, frames at each]
    if not np.all(np.diff(table, axis=1) > 0):
        return None
    ranks = np.empty(len(place), dtype=np.intp)
    ranks[order] = np.tile(np.arange(table.shape[1]), len(frames))
    return ranks


def _mostly_regular(slices: Slices, parts: list[Indices]) -> bool:
    """Whether more than half of the frames are in parts that are regular volumes."""
    total = sum(map(len, parts))
    if 4 * len(parts) > 3 * total:  # too many of one frame
        return False
    return 2 * sum(len(part) for part in parts if slices.fit(part).reason is None) > total


def _parts(chosen: Indices, code: Indices) -> list[Indices]:
    """Sorted `chosen`, one part per value, each as sorted as it."""
    order = np.argsort(code, kind="stable")
    return np.split(chosen[order], np.cumsum(np.bincount(code))[:-1])


def _different(slices: Slices, chosen: Indices, contrast: tuple[int, ...]) -> Indices | None:
    """Rule 7: the value of each frame in a contrast that makes volumes of what lies at different places."""
    for _, code in _codes(slices, chosen, contrast):
        if len(chosen) == 2:
            return code
        if np.bincount(code).min() > 1 and all(slices.fit(part).reason is None for part in _parts(chosen, code)):
            return code
    return None


def _uneven(slices: Slices, chosen: Indices) -> Indices | None:
    """Rules 8 and 9: the value of each frame in the attribute that explains why the slices are not even."""
    found = slices.fit(chosen)
    if found.reason is None:
        return None
    if len(chosen) == 2 and found.tilt > STEEPEST:
        return np.arange(2)
    for _, code in _codes(slices, chosen, (each for each in range(len(slices.phases)) if each not in _CLOCK)):
        parts = _parts(chosen, code)
        if not _mostly_regular(slices, parts):
            continue
        long = [(part, slices.fit(part)) for part in parts if len(part) > 1]
        if all(found.reason is None for _, found in long) and not _cuts(slices, parts, long):
            return code
    return None


def _cuts(slices: Slices, parts: list[Indices], regular: list[tuple[Indices, Fit]]) -> bool:
    """Whether a part begins just where the next slice of a regular one would lie: the attribute cut an even run."""
    starts = np.sort(slices.distances[[part[0] for part in parts]])
    following = slices.distances[[part[-1] for part, _ in regular]] + [found.distance for _, found in regular]
    near = np.array([EVEN * found.distance for _, found in regular])
    return bool(np.any(np.searchsorted(starts, following - near) < np.searchsorted(starts, following + near)))
