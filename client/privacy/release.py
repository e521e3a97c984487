"""A hospital's clipped sum becomes integers with noise: the one place where private numbers turn into what may leave.

>>> from client.privacy.stream import SecureStream
>>> mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=4, honest=1, sites=1)
>>> words = as_words(release(np.zeros(4), mechanism, SecureStream()))
>>> mechanism.decode(words).shape
(4,)
"""

import numpy as np
from numpy.typing import NDArray

from client.privacy.gaussian import CHUNK, discrete_gaussian
from client.privacy.stream import SecureStream
from shared.errors import MisuseError, SiteError
from shared.mechanism import Mechanism

Float64 = NDArray[np.float64]


def release(total: Float64, mechanism: Mechanism, stream: SecureStream) -> NDArray[np.int64]:
    """The integers [d] of `total` [d], float64, with this hospital's share of the noise.

    Mechanism: discrete Gaussian on Z^d (shared/mechanism.py). Norm: L2. Sensitivity: `mechanism.clip`, if `total` is
    a sum with one term of at most that norm per patient. Neighbouring: all images of one patient added or removed.
    One call is one Gaussian mechanism of multiplier `mechanism.noise_multiplier` once the shares of `mechanism.honest`
    hospitals are summed, and by itself where `honest` is 1. Raises MisuseError for another shape or type, SiteError for
    numbers that are not finite.
    """
    if total.shape != (mechanism.entries,) or total.dtype != np.float64:
        expected, got = f"float64 [{mechanism.entries}]", f"{total.dtype} {list(total.shape)}"
        raise MisuseError("clipped sum", expected=expected, got=got)
    if not np.isfinite(total).all():
        raise SiteError("clipped sum", expected="finite numbers", got="NaN or infinity", do="Check the model's values.")
    noisy = np.empty(mechanism.entries, np.int64)
    for start in range(0, len(total), CHUNK):
        piece = total[start : start + CHUNK] / mechanism.grid  # exact: the grid is a power of two
        np.clip(np.rint(piece, out=piece), -mechanism.limit, mechanism.limit, out=piece)
        noise = discrete_gaussian(mechanism.deviation, len(piece), stream)
        np.add(noise, piece.astype(np.int64), out=noisy[start : start + CHUNK])
    return noisy


def as_words(integers: NDArray[np.int64]) -> NDArray[np.uint32]:
    """`integers` [d] mod 2^32: what is masked and summed, and what `Mechanism.decode` reads."""
    return integers.astype(np.uint32)
