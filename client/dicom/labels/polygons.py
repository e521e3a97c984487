"""Closed polygons → the voxels whose centres they enclose, by the even-odd rule.

Guarantees: exact and the same however the grid is turned or mirrored: a centre that lies on an outline belongs to the
mask. Polygons within polygons are holes; an outline traversed twice, such as the channel of a keyhole, is none.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Of a voxel: nearer than this to an outline is on it; contours come as decimal text of about so many digits.
_ON = 1e-3
#: Edges looked at in one go: bounds the memory.
_CHUNK = 4096


def fill(polygons: Sequence[Points], shape: tuple[int, int]) -> Mask:
    """bool `shape`, [rows, columns]. Each polygon: [points, 2], rows and columns of its corners, centres at whole
    numbers; the last corner is joined to the first."""
    edges = _edges(polygons)
    toggles = np.zeros((shape[0], shape[1] + 1), np.int32)
    outline = np.zeros(shape, np.bool_)
    for first in range(0, len(edges), _CHUNK):
        some = edges[first : first + _CHUNK]
        for row, crossing in _crossings(some, shape[0], 0.0):
            column = np.ceil(crossing).clip(0, shape[1]).astype(np.intp)
            np.add.at(toggles, (row, column), 1)
        _mark(outline, some)
        _mark(outline.T, some[:, :, ::-1])
    inside: Mask = (np.cumsum(toggles, axis=1)[:, :-1] % 2).astype(np.bool_)
    return inside | outline


def _edges(polygons: Sequence[Points]) -> Points:
    """[edges, start and end, row and column], without those that are there an even number of times."""
    both = [np.stack([points, np.roll(points, -1, axis=0)], axis=1) for points in polygons if len(points) > 2]
    edges = np.concatenate(both) if both else np.zeros((0, 2, 2))
    rounded = np.rint(edges / _ON)
    forward = (rounded[:, 0, 0] < rounded[:, 1, 0]) | (
        (rounded[:, 0, 0] == rounded[:, 1, 0]) & (rounded[:, 0, 1] <= rounded[:, 1, 1])
    )
    named = np.where(forward[:, None, None], rounded, rounded[:, ::-1]).reshape(len(edges), 4)
    _, place, counts = np.unique(named, axis=0, return_index=True, return_counts=True)
    kept: Points = edges[np.sort(place[counts % 2 == 1])]
    return kept


def _crossings(edges: Points, rows: int, margin: float) -> Iterator[tuple[NDArray[np.intp], Points]]:
    """Rows, and where on them `edges` cross: each edge from its upper end on and before its lower end, or `margin`
    beyond both. Level edges cross no row."""
    top, bottom = edges[:, :, 0].min(axis=1), edges[:, :, 0].max(axis=1)
    steep = bottom - top > (_ON if margin else 0)
    edges, top, bottom = edges[steep], top[steep], bottom[steep]
    first = np.ceil(top - margin).clip(0, rows).astype(np.intp)
    end = (np.floor(bottom + margin) + 1 if margin else np.ceil(bottom)).clip(0, rows).astype(np.intp)
    counts = np.maximum(end - first, 0)
    which = np.repeat(np.arange(len(edges)), counts)
    row = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    start, stop = edges[which, 0], edges[which, 1]
    share = ((row - start[:, 0]) / (stop[:, 0] - start[:, 0])).clip(0, 1)
    yield row, start[:, 1] + share * (stop[:, 1] - start[:, 1])


def _mark(outline: Mask, edges: Points) -> None:
    """Set the voxels of `outline` whose centres lie on `edges`, as far as these are steep."""
    for row, crossing in _crossings(edges, outline.shape[0], _ON):
        column = np.rint(crossing)
        on = (np.abs(crossing - column) <= _ON) & (column >= 0) & (column < outline.shape[1])
        outline[row[on], column[on].astype(np.intp)] = True
