"""How bright the images of a modality are: one histogram in which every image weighs the same. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Bins of a histogram.
BINS = 64
#: Percent of the pixels below each figure given.
PERCENTILES = (1, 25, 50, 75, 99)


@dataclass(frozen=True)
class Intensity:
    """Modality values (HU for CT, stored units where the scanner names none) of `images` images of `modality`.

    `shares` are of all pixels, each image weighing the same, in BINS equal bins from `low` to `high`; what lies outside
    (a thousandth on either side) is in the first and last. `percentiles` as PERCENTILES.
    """

    modality: str
    images: int
    low: float
    high: float
    shares: tuple[float, ...]
    percentiles: tuple[float, ...]


def pooled(modality: str, points: Sequence[tuple[float, ...]]) -> Intensity | None:
    """The histogram of images given by their quantiles (View.points), None if none has any."""
    rows = [row for row in points if row]
    if not rows:
        return None
    values = np.concatenate([np.asarray(row, dtype=np.float64) for row in rows])
    low, high = (float(end) for end in np.quantile(values, (0.001, 0.999), method="nearest"))
    size = max(abs(low), abs(high))
    # bins narrower than numbers of that size lie apart are none
    top = high if high - low > 1e-9 * size else low + max(1.0, 1e-6 * size)
    counts, _ = np.histogram(np.clip(values, low, high), BINS, (low, top))
    return Intensity(
        modality=modality,
        images=len(rows),
        low=low,
        high=high,
        shares=tuple((counts / len(values)).tolist()),
        percentiles=tuple(np.percentile(values, PERCENTILES).tolist()),
    )
