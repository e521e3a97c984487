"""The discrete Gaussian mechanism on a sum of clipped vectors: every number that site and coordinator must agree on.

A site's real sum S ∈ R^d (one term of L2 norm ≤ `clip` per patient) becomes the integers rint(S ÷ grid), clamped to
±`limit`, plus its share of the noise, discrete Gaussian on Z^d; the sum over sites is taken mod 2^32.

Unit: patient. Norm: L2. Neighbouring: all images of one patient at one hospital added or removed. Why a release over
sites of whom `honest` add their shares is at least as private as adding N(0, (noise_multiplier × clip)²) to a real
sum, whatever accountant is then used (Kairouz, Liu, Steinke 2021, arXiv 2102.06387; Agarwal, Kairouz, Liu 2021,
arXiv 2110.04995; docs/privacy.md has the proof in full):

1. Rounding. |rint(x + g) − rint(x)| ≤ |g| + 1, and clamping brings no two numbers further apart, so one patient changes
   the integers by at most clip ÷ grid + √d in L2. The noise is scaled to that, not to the clip.
2. Arithmetic. A patient more may change how the others' gradients are rounded by the processor. ARITHMETIC of the clip
   is added to the sensitivity for it.
3. Shares. The sum of k shares of parameter s² is discrete Gaussian of parameter k s², and adding that to an integer is
   what one gets who adds N(0, k s² − SMOOTH²) to it and then rounds at random: post-processing; both up to a factor
   1 ± 2^-200 of every probability (Peikert 2010, theorem 3.1; Micciancio and Regev 2007, lemma 4.4). So s² is chosen
   such that k = `honest` shares hide as well as the N(0, …) that is promised.
4. Wrapping. mod 2^32 is post-processing too. It costs accuracy only, and none here: `limit` leaves TAIL standard
   deviations of everybody's noise before a sum could wrap.

    >>> Mechanism(clip=1.0, noise_multiplier=1.0, entries=100, honest=2, sites=3).grid
    6.103515625e-05
"""

import math
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.wire import Record

#: Steps of the grid that a clip has, times √d: rounding then adds at most this share (as 2^-ROUNDING_BITS) to it.
ROUNDING_BITS = 10
#: Share of the clip by which arithmetic may move the sum of the others.
ARITHMETIC = 2.0**-10
#: Standard deviation, in steps of the grid, of the rounding at random in 3: 4 exp(−π² SMOOTH²) < 2^-200.
SMOOTH = 4.0
#: Standard deviations of noise that a sum has room for. Beyond lie 10^-15 of the entries.
TAIL = 8.0

Positive = Annotated[float, Meta(gt=0, lt=1e9)]


class Mechanism(Record, frozen=True):
    """`entries` d of the vector, `sites` whose vectors are summed, `honest` of them whose noise counts (1 in mode
    "local": this hospital's own). Part of the plan. Raises ValueError where 32 bits do not hold the sum."""

    clip: Positive
    noise_multiplier: Positive
    entries: Annotated[int, Meta(ge=1, le=2**28)]
    honest: Annotated[int, Meta(ge=1)]
    sites: Annotated[int, Meta(ge=1)]
    version: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.clip < math.inf and 0 < self.noise_multiplier < math.inf and self.entries >= 1):
            raise ValueError("clip, noise_multiplier and entries: expected above 0")
        if not 1 <= self.honest <= self.sites:
            raise ValueError(f"honest: expected 1 to {self.sites}, got {self.honest}")
        if self.limit * self.grid < self.clip:
            raise ValueError(
                f"a clip and its noise: expected to fit into 32 bits over {self.sites} sites, got a noise multiplier of"
                f" {self.noise_multiplier:g} on {self.entries} entries"
            )

    @property
    def grid(self) -> float:
        """One step of the integers, a power of two: at most clip ÷ (2^ROUNDING_BITS √d)."""
        _, exponent = math.frexp(self.clip / math.sqrt(self.entries))  # exact: both ends get the same
        return math.ldexp(1.0, exponent - 1 - ROUNDING_BITS)

    @property
    def sensitivity(self) -> float:
        """Most that one patient changes a site's integers by, in L2 (rules 1 and 2), in steps of the grid."""
        return self.clip / self.grid * (1 + ARITHMETIC) + math.sqrt(self.entries)

    @property
    def deviation(self) -> float:
        """Standard deviation of one site's noise in every entry, in steps of the grid (rule 3)."""
        return math.sqrt((self.noise_multiplier * self.sensitivity) ** 2 / self.honest + SMOOTH**2)

    @property
    def limit(self) -> int:
        """Largest magnitude of one site's integers before the noise (rule 4)."""
        return int((2**31 - 1) / self.sites - TAIL * self.deviation)

    def decode(self, total: NDArray[np.uint32] | NDArray[np.uint16]) -> NDArray[np.float64]:
        """The noisy sum that the words `total` [d], read mod 2^32, stand for, float64 [d]."""
        words = total.astype(np.uint32, copy=False)
        real: NDArray[np.float64] = words.view(np.int32).astype(np.float64) * self.grid
        return real
