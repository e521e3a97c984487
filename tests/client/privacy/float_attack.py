"""The attack on Gaussian noise made of floats (Mironov 2012; for Gaussians Jin et al. 2022, arXiv 2112.05307).

A Box-Muller sampler reaches few of the floats: 2^104 pairs of them. Whoever sees value + noise and guesses the value
subtracts it, and asks whether any pair of uniform numbers near those that the real numbers point to gives these
very floats. The right guess is always possible; a wrong one, for 16 pairs, hardly ever.
"""

import os

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

#: Uniform numbers are midpoints of 2^52 cells, as in many a generator of normals.
CELLS = 2.0**52
#: Cells to either side in which the true one is looked for: rounding moves the inverse by a few.
WINDOW = 12


def box_muller(first: Float64, second: Float64) -> tuple[Float64, Float64]:
    """Two normals each from the uniform cells `first` and `second`."""
    radius = np.sqrt(-2.0 * np.log((first + 0.5) / CELLS))
    angle = 2.0 * np.pi * ((second + 0.5) / CELLS)
    return radius * np.cos(angle), radius * np.sin(angle)


def naive_noise(pairs: int) -> Float64:
    """Normals [2, pairs] by Box and Muller, from the best of randomness: what is attacked is the floats."""
    cells = np.frombuffer(os.urandom(16 * pairs), np.uint64).reshape(2, pairs) >> np.uint64(12)
    return np.stack(box_muller(*cells.astype(np.float64)))


def possible(seen: Float64, value: float) -> bool:
    """Whether every pair of `seen` [2, pairs] can be `value` + naive noise of deviation 1."""
    one, other = seen - value
    first = np.floor(np.exp(-(one**2 + other**2) / 2) * CELLS)
    second = np.floor(np.mod(np.arctan2(other, one) / (2 * np.pi), 1.0) * CELLS)
    steps = np.arange(-WINDOW, WINDOW + 1.0)
    # [pairs, window of first, window of second]
    tried = box_muller(
        np.clip(first[:, None, None] + steps[:, None], 0, CELLS - 1), np.mod(second[:, None, None] + steps, CELLS)
    )
    found = (value + tried[0] == seen[0][:, None, None]) & (value + tried[1] == seen[1][:, None, None])
    return bool(found.any(axis=(1, 2)).all())


def guess(seen: Float64, values: tuple[float, float]) -> float | None:
    """Which of two `values` was behind `seen`; None where both are possible or neither is."""
    left = [value for value in values if possible(seen, value)]
    return left[0] if len(left) == 1 else None
