"""Several volumes in one series: times, echoes, b-values, magnitude and phase. Which frames belong together?

Guarantees: an attribute splits a series only where it must, because frames share a place or lie unevenly, and only into
parts that make sense as volumes: a CT whose Acquisition Number changes half way stays whole. What nothing tells apart
stays together, for `stacks` to leave out by its reason. Each frame ends in exactly one part.

Rules, in this order:
1. An attribute of which every value has every place exactly once: the parts are volumes.
2. One of which every value has every place: it splits, and others split the parts.
3. An order in time (rising at each place, but with other values from place to place, as trigger times have): the first
   of each place, the second of each ...
4. An attribute that leaves most frames in regular volumes: the others are of one that was not finished, or of images
   taken again and again at one place, as when a bolus is awaited.
5. The order of the Instance Numbers, where each place has as many frames.
6. Where no place repeats but slices lie unevenly: an attribute whose values are regular volumes, cutting no even run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from client.dicom.geometry.frame import PHASE
from client.dicom.geometry.grid import EVEN, Fit, Floats, fit, places

Indices = NDArray[np.intp]

#: of PHASE, what orders frames in time even where its values differ from place to place
_IN_TIME = tuple(PHASE.index(name) for name in ("temporal", "trigger", "acquisition"))


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
    chosen = slices.sorted(chosen)
    if slices.fit(chosen).reason is None or len(chosen) == 1:
        return [chosen]
    place = places(slices.distances[chosen])
    repeats = bool(place[-1] + 1 < len(chosen))
    code = _shared_places(slices, chosen, place) if repeats else _uneven(slices, chosen)
    if code is None:
        return [chosen]
    return [volume for value in range(code.max() + 1) for volume in volumes(slices, chosen[code == value])]


def _codes(slices: Slices, chosen: Indices) -> Iterator[Indices]:
    """For each attribute with several values among `chosen`: the value of each, from 0, none left out."""
    for values in slices.phases[:, chosen]:
        found, code = np.unique(values, return_inverse=True)
        if len(found) > 1:
            yield code


def _shared_places(slices: Slices, chosen: Indices, place: Indices) -> Indices | None:
    """The value of each frame in the attribute, or order, that tells apart those at one place; rules 1 to 5."""
    codes = list(_codes(slices, chosen))
    spread = [_spread(code, place) for code in codes]
    for wanted in (_Spread(everywhere=True, once=True), _Spread(everywhere=True, once=False)):
        for code, found in zip(codes, spread, strict=True):
            if found == wanted:
                return code
    for attribute in _IN_TIME:
        if (rank := _ranks(slices.phases[attribute, chosen], place)) is not None:
            return rank
    for code in codes:
        if _mostly_regular(slices, _parts(chosen, code)):
            return code
    return _ranks(slices.numbers[chosen], place)


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


def _uneven(slices: Slices, chosen: Indices) -> Indices | None:
    """Rule 6: the value of each frame in the attribute that explains why the slices are not even."""
    for code in _codes(slices, chosen):
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
