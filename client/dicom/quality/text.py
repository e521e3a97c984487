"""Letters burned into an image: does a line of writing stand in it?

What is looked for is what screens and scanners write: thin strokes of one value, clearly off their surroundings, in
four or more signs side by side on one line, from 5 to about 160 pixels tall. One letter (a side marker), slanted or
handwritten text and text as faint as its background are not found: a quarantine may rest on this, a promise may not.

Measured on ../shared/data: of 1,614 images (CT, MR, CR, NM, ultrasound, chests, skin, test patterns) 19 were suspected,
and those looked at (one of each kind) do hold writing; of 2,381 photographs of skin, none. Of 417 with one line printed
onto them (10 to 32 points, light or dark, in a corner or anywhere) 399 were found, 96 %; across a step wedge 31 of 42,
on pure noise 6 of 41. The thresholds were chosen on these very images: expect less of others. One of 512 × 512 takes
about 40 ms, a mammogram seconds.

    >>> suspected_text(np.zeros((64, 64), np.float32))
    False
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components

Plane = NDArray[np.floating]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Values above which a sign may stand: most writing has the brightest value there is, some a grey one.
LEVELS = (0.9, 0.55)
#: The widest stroke in pixels, the least that it stands off its neighbourhood, and a sign off the ring around it.
STROKE = 10
STROKE_CONTRAST = 0.25
SIGN_CONTRAST = 0.3
#: Signs of a line.
SIGNS = 4
#: Height of a sign in pixels, at each of up to SCALES halvings of the image.
HEIGHTS = (5, 40)
SCALES = 3
#: An image with a shorter side holds no line; one with a shorter side than HALVED no letters of more than 40 pixels
#: (whatever lies side by side looks like letters once it is small).
SMALLEST = 32
HALVED = 256
#: Signs looked at in one plane: noise has tens of thousands.
MOST_SIGNS = 1500

_AROUND = np.ones((3, 3), dtype=np.bool_)


def suspected_text(grey: NDArray[np.uint8] | Plane) -> bool:
    """Whether writing seems to stand in `grey` [rows, columns]: float in [0, 1], or uint8."""
    plane = _plane(grey)
    if min(plane.shape) < SMALLEST:
        return False
    for _ in range(SCALES):
        if _writing(plane) or _writing(1 - plane):
            return True
        if min(plane.shape) < HALVED:
            return False
        plane = halved(plane)
    return False


def markers(grey: Plane) -> int:
    """How many signs stand out, light on dark, within a sixth of a side from the border of `grey` in [0, 1]."""
    plane = _plane(grey)
    if min(plane.shape) < SMALLEST:
        return 0
    signs = _signs(plane, _thin(plane) & (plane > LEVELS[0]))
    down, right = (signs.top + signs.bottom) / 2 / plane.shape[0], (signs.left + signs.right) / 2 / plane.shape[1]
    return int(np.count_nonzero((np.abs(down - 0.5) > 1 / 3) | (np.abs(right - 0.5) > 1 / 3)))


def _plane(grey: NDArray[np.uint8] | Plane) -> Plane:
    """In [0, 1]."""
    return grey.astype(np.float32) / 255 if grey.dtype == np.uint8 else grey.astype(np.float32)


def halved(plane: Plane) -> Plane:
    """Means of 2 × 2 pixels; a last odd row or column is dropped."""
    rows, columns = (side // 2 for side in plane.shape)
    # [rows, columns] -> [rows / 2, 2, columns / 2, 2]
    halved: Plane = plane[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    return halved


def _writing(plane: Plane) -> bool:
    """Whether a line of light signs stands in `plane`."""
    thin = _thin(plane)
    return any(_lined(_signs(plane, thin & (plane > level))) for level in LEVELS)


def _thin(plane: Plane) -> Mask:
    """Where `plane` is brighter than all around it that is wider than a stroke."""
    thin: Mask = plane - ndimage.grey_opening(plane, size=(STROKE + 1, STROKE + 1)) > STROKE_CONTRAST
    return thin


@dataclass(frozen=True)
class Signs:
    """Candidates, one number each: borders in pixels, share of the box that is ink, value of the brightest pixel."""

    top: Numbers
    bottom: Numbers
    left: Numbers
    right: Numbers
    ink: Numbers
    value: Numbers

    @property
    def height(self) -> Numbers:
        """In pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> Numbers:
        """In pixels."""
        return self.right - self.left


def _signs(plane: Plane, mask: Mask) -> Signs:
    """The connected pieces of `mask` that could each be a letter or a few."""
    pieces, count = ndimage.label(mask, _AROUND)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    rows: list[tuple[float, ...]] = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
        ink = areas[number] / (height * width)
        if not HEIGHTS[0] <= height <= HEIGHTS[1] or width > 3 * height or areas[number] < 5 or ink < 0.12:
            continue
        if (value := _stands_out(plane, pieces, number, box)) is not None:
            rows.append((box[0].start, box[0].stop, box[1].start, box[1].stop, ink, value))
        if len(rows) == MOST_SIGNS:
            break
    return Signs(*np.array(rows, dtype=np.float64).reshape(-1, 6).T)


def _stands_out(plane: Plane, pieces: NDArray[np.int32], number: int, box: tuple[slice, slice]) -> float | None:
    """The brightest value of piece `number`, if it is clearly off an even enough ring of 2 to 3 pixels around it."""
    wide = tuple(slice(max(0, side.start - 3), side.stop + 3) for side in box)
    local, own = plane[wide], pieces[wide] == number
    ring = local[~ndimage.binary_dilation(own, _AROUND) & (pieces[wide] == 0)]
    if not ring.size:
        return None
    low, middle, high = np.percentile(ring, (16, 50, 84))
    contrast = float(np.median(local[own]) - middle)
    return float(local[own].max()) if contrast > SIGN_CONTRAST and high - low <= contrast else None


def _lined(signs: Signs) -> bool:
    """Whether SIGNS of them or more stand side by side: of one height, as capitals and digits, or on one base."""
    if len(signs.top) < SIGNS:
        return False
    height = signs.height
    small, large = np.minimum.outer(height, height), np.maximum.outer(height, height)
    gap = np.maximum.outer(signs.left, signs.left) - np.minimum.outer(signs.right, signs.right)
    off = np.maximum(1, 0.1 * small)
    based = (_apart(signs.bottom) <= off) & (_apart(signs.value) <= 0.15) & (gap >= -1)
    capitals = based & (_apart(signs.top) <= off) & (gap <= 1.5 * small)
    mixed = based & (large <= 1.7 * small) & (gap <= 0.7 * large)
    return _chained(capitals, signs) or _chained(mixed, signs)


def _apart(values: Numbers) -> Numbers:
    """[N] → [N, N] distances."""
    apart: Numbers = np.abs(np.subtract.outer(values, values))
    return apart


def _chained(beside: Mask, signs: Signs) -> bool:
    """Whether a chain of neighbours is writing, and no ruler, grating or row of dots."""
    _, chain = connected_components(beside, directed=False)
    for number in np.flatnonzero(np.bincount(chain) >= SIGNS):
        own = chain == number
        shapes = {(width, round(ink, 2)) for width, ink in zip(signs.width[own], signs.ink[own], strict=True)}
        letters = (signs.width[own] >= 0.3 * signs.height[own]) & (signs.ink[own] < 0.85)
        if len(shapes) >= 3 and np.count_nonzero(letters) >= SIGNS - 1:
            return True
    return False
