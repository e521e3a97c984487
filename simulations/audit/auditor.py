"""The auditor: sees what the coordinator of the run sees, and guesses who took part.

Of each step it is given the opened sum and nothing else; it knows what is public (the study, each canary's coordinate).
A canary in the sum adds one clip to its coordinate in the steps it was drawn for; the score is the log-likelihood ratio
of "in" against "out", with the noise as it is measured on coordinates that no canary has. Guesses are made about those
canaries whose scores are furthest from 0: in for above, out for below.

How many guesses are made is fixed before anything is seen (`SHARES`), and each such set is held against its share of
the 5 %, so that choosing the best of them afterwards is paid for (Bonferroni).
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulations.audit.guesses import Guesses

Floats = NDArray[np.float64]

#: Parts of the canaries about which guesses are made.
SHARES = (1.0, 1 / 4, 1 / 16)
#: The chance that an audit of a run which keeps its promise contradicts it.
LEVEL = 0.05
#: Each set of guesses' part of it.
EACH = LEVEL / len(SHARES)
#: Least noise that is believed of a sum, as a share of the clip: rounding and the true patients leave some.
LEAST_NOISE = 1e-3
#: What blank coordinates there must be to measure the noise by.
LEAST_BLANK = 100


@dataclass
class Auditor:
    """`places`: each canary's coordinate in the opened sums, [m], each once; the other coordinates are blank. Every
    canary was drawn with probability `rate` in every step it took part in."""

    places: NDArray[np.int64]
    rate: float
    #: log-likelihood ratio of each canary, over the steps seen so far
    scores: Floats = field(init=False)
    #: measured noise of each step, in clips
    noise: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scores = np.zeros(len(self.places))

    def see(self, total: Floats) -> None:
        """One opened sum [d], in clips."""
        blank = np.delete(total, self.places)
        if len(blank) < LEAST_BLANK:
            raise ValueError(f"expected at least {LEAST_BLANK} coordinates without a canary, got {len(blank)}")
        # half the distance of the quartiles: the few coordinates where true patients add up do not move it
        low, high = np.quantile(blank, (0.25, 0.75))
        sigma = max(LEAST_NOISE, float(high - low) / 1.3490)
        self.noise.append(sigma)
        drawn = (2 * total[self.places] - 1) / (2 * sigma * sigma)
        self.scores += drawn if self.rate == 1 else np.logaddexp(math.log1p(-self.rate), math.log(self.rate) + drawn)

    def judged(self, planted: NDArray[np.bool_]) -> tuple[Guesses, ...]:
        """The guesses, now compared with who was `planted` [m]: one set for each of SHARES, the surest first."""
        order = np.argsort(-np.abs(self.scores), kind="stable")
        right = ((self.scores > 0) == planted)[order]
        sizes = (max(1, round(share * len(order))) for share in SHARES)
        return tuple(Guesses(canaries=len(order), made=size, right=int(right[:size].sum())) for size in sizes)
