"""How far hospitals' updates lay apart, from sums alone.

With weights p_i that add up to 1, mean update ū = Σ p_i u_i, and every hospital's p_i |u_i|² in the sum:

    Σ p_i |u_i − ū|² = Σ p_i |u_i|² − |ū|²

`drift` is the root of that over |ū|²: 0 where all hospitals pull the same way, 1 where they lie as far from their mean
as that is long, without end where they pull against each other.

    >>> drift(np.array([3.0, 0.0], np.float32), square=13.0)  # (3, 2) and (3, −2)
    0.6666666666666666
"""

import math

import numpy as np
from numpy.typing import NDArray


def drift(mean: NDArray[np.float32], square: float | None) -> float | None:
    """The drift of updates whose mean is `mean` [d] and whose squared lengths are `square` in the mean; None where that
    is not known or the mean is 0. Narrow words add their rounding to it."""
    if square is None:
        return None
    length = float(np.sum(np.square(mean, dtype=np.float64)))
    return math.sqrt(max(0.0, square / length - 1.0)) if length else None
