"""One image, looked at: the little that a report needs of its pixels, in a few hundred numbers.

Guarantees: holds no pixel and no identity; of equal pixels the views are equal. Pure.

    >>> measure(values, padding, shown, "DX").text
    False
"""

import hashlib
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from client.dicom.quality.text import halved, markers, suspected_text
from shared.wire import Record

#: Points of an image's distribution; the i-th is its (i + ½) / POINTS quantile.
POINTS = 256
#: Pixels that quantiles are taken of, at most: more change no digit that is shown.
MOST_PIXELS = 1 << 20
#: Writing is looked for in larger images once they are halved: a report on mammograms would take an hour otherwise.
LARGEST = 2560
#: Projection images: air is shown dark (PS3.3 C.8.11.3.1.2 and its like).
PROJECTIONS = frozenset(("CR", "DX", "MG", "RG", "PX", "IO"))

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]


class View(Record, frozen=True):
    """What one image looks like. Shares are of 1; brightness runs from 0, black, to 1, white, as a screen shows it."""

    #: of the modality values that are not padding, in order; empty if all is padding
    points: tuple[float, ...]
    #: share of the area in rows and columns at the border that are evenly black, and evenly white
    black_border: float
    white_border: float
    #: mean brightness of all, of the four corners together, and the spread of all
    brightness: float
    corners: float
    contrast: float
    #: letters and other small signs that stand out near the border: side markers, scales
    markers: Annotated[int, Meta(ge=0)]
    text: bool
    constant: bool
    #: share at the very highest value, and share that is neither lowest nor highest and yet shown black or white
    saturated: float
    clipped: float
    #: a projection image whose surround is bright and whose middle is dark
    inverted: bool
    #: 16 bytes naming shape and values
    digest: bytes


def measure(values: Values, padding: Mask, shown: NDArray[np.float32], modality: str) -> View:
    """The view of an image: modality `values`, where they are `padding`, and `shown` as brightness in [0, 1], all
    [rows, columns]."""
    seen = values[~padding]
    thinned = seen[:: max(1, len(seen) // MOST_PIXELS)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 0.0)
    places = (np.arange(POINTS) + 0.5) / POINTS
    small = _reduced(shown)
    lost = ((shown <= 0) & (values > low)) | ((shown >= 1) & (values < high))
    return View(
        points=tuple(np.quantile(thinned, places).tolist()) if len(seen) else (),
        black_border=_border(shown <= 0.02),
        white_border=_border(shown >= 0.98),
        brightness=float(shown.mean()),
        corners=float(np.mean([corner.mean() for corner in _corners(shown)])),
        contrast=float(shown.std()),
        markers=markers(small),
        text=suspected_text(small),
        constant=low == high,
        saturated=float((seen == high).mean()) if len(seen) and high > low else 0.0,
        clipped=float(lost[~padding].mean()) if len(seen) else 0.0,
        inverted=modality in PROJECTIONS and _inverted(shown),
        digest=_digest(values),
    )


def _reduced(shown: NDArray[np.float32]) -> Values:
    reduced: Values = shown
    while max(reduced.shape) > LARGEST:
        reduced = halved(reduced)
    return reduced


def _border(even: Mask) -> float:
    """Share of the area outside the smallest box around all that is not `even`."""
    rows, columns = np.flatnonzero(~even.all(axis=1)), np.flatnonzero(~even.all(axis=0))
    if not len(rows):
        return 1.0
    return 1 - float((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)) / even.size


def _corners(shown: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Four squares, a twentieth of the shorter side long."""
    side = max(1, min(shown.shape) // 20)
    return [shown[rows, columns] for rows in _ends(side) for columns in _ends(side)]


def _ends(side: int) -> tuple[slice, slice]:
    return slice(None, side), slice(-side, None)


def _inverted(shown: NDArray[np.float32]) -> bool:
    """Whether most of the outermost pixels are much brighter than the middle third."""
    rows, columns = shown.shape
    edge = np.concatenate((shown[0], shown[-1], shown[:, 0], shown[:, -1]))
    middle = shown[
        rows // 3 : max(rows // 3 + 1, 2 * rows // 3), columns // 3 : max(columns // 3 + 1, 2 * columns // 3)
    ]
    return float(np.median(edge)) > 0.8 and float(np.median(middle)) < float(np.median(edge)) - 0.3


def _digest(values: Values) -> bytes:
    plain = np.ascontiguousarray(values, dtype="<f4")
    return hashlib.blake2b(plain.data, digest_size=16, person=b"%dx%d" % plain.shape[:2]).digest()
