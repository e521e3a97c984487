"""Randomness that privacy rests on: from the operating system, never from a seed.

A `SecureStream` is AES-256 in counter mode under a fresh 32-byte key of `os.urandom`; it decides which patients
are drawn and makes the Gaussian noise. It cannot be seeded, saved or repeated.

Floating point. The proof of the Gaussian mechanism is about real numbers; a float64 sample has holes, and the
low bits of `value + noise` can tell neighbouring values apart (Mironov 2012; for Gaussians Jin et al. 2022,
arXiv 2112.05307). Two counter-measures, together: each sample is the sum of four independent Box-Muller normals
halved, so that inverting one needs a search over 2^200 states (Holohan and Braghin 2021, arXiv 2107.10138); and
the noisy sum is rounded to a grid of σC · 2^-16 or finer by at most a factor two, which erases the bits below.
This mitigates; it is no proof. A discrete Gaussian inside the masked integers would be one (PRIVACY.md, mode
distributed).
"""

import math
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from shared.errors import MisuseError

Float64 = NDArray[np.float64]

#: Normals added up per sample, then divided by their root.
SUMMANDS = 4
#: Grid steps per standard deviation of the noise, as a power of two.
GRID_BITS = 16
#: Normals made at a time: 1 MiB of key stream stays in cache.
CHUNK = 1 << 16


class SecureStream:
    """Uniform and normal numbers from an AES-256-CTR key stream. Not for two threads at once."""

    def __init__(self) -> None:
        # A fresh random key: the counter may start at zero, no two streams share a block.
        self._encryptor = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> Float64:
        """`count` floats in (0, 1): midpoints of the 2^52 equal cells."""
        words = np.frombuffer(self._encryptor.update(bytes(8 * count)), dtype="<u8")
        return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def normal(self, count: int) -> Float64:
        """`count` standard normals (Box and Muller 1958), each the halved sum of four."""
        made = np.empty(count)
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            made[start : start + size] = self._boxed(size)
        return made

    def _boxed(self, count: int) -> Float64:
        pairs = (SUMMANDS * count + 1) // 2
        radius = np.sqrt(-2.0 * np.log(self.uniform(pairs)))
        angle = 2.0 * math.pi * self.uniform(pairs)
        # Rolled by one, so that no sample sums both normals of one pair.
        both = np.concatenate([radius * np.cos(angle), np.roll(radius * np.sin(angle), 1)])
        normals = both[: SUMMANDS * count].reshape(SUMMANDS, count)
        summed: Float64 = normals.sum(axis=0) / math.sqrt(SUMMANDS)
        return summed


def poisson_sample(count: int, rate: float, stream: SecureStream) -> NDArray[np.int64]:
    """Which of `count` patients are drawn, each with probability `rate` and on its own, ascending [≤ count]."""
    if not 0 < rate <= 1:
        raise MisuseError("sampling rate", expected="a number in (0, 1]", got=str(rate))
    return np.flatnonzero(stream.uniform(count) < rate).astype(np.int64)


def add_noise(total: Float64, clip: float, sigma: float, stream: SecureStream) -> Float64:
    """`total` [d] plus N(0, (sigma·clip)²) in every coordinate, on the grid of the module's docstring.

    Norm: L2. Sensitivity: `clip`, if `total` is a sum with one term of at most that norm per patient.
    Neighbouring: all images of one patient added or removed. One call is one Gaussian mechanism of noise
    multiplier `sigma`.
    """
    deviation = sigma * clip
    if not (math.isfinite(deviation) and deviation > 0):
        raise MisuseError("noise", expected="sigma × clip above 0", got=str(deviation))
    if not np.isfinite(total).all():
        raise MisuseError("clipped sum", expected="finite numbers", got="NaN or infinity")
    grid = 2.0 ** (math.floor(math.log2(deviation)) - GRID_BITS)
    noisy: Float64 = np.rint((total + deviation * stream.normal(len(total))) / grid) * grid
    return noisy
