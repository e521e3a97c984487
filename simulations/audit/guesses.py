"""What guesses about canaries prove of (ε, δ): the one-run audit of Steinke, Nasr, Jagielski 2023 (arXiv 2305.08846).

Each of m canaries took part with probability ½, on its own. An auditor who sees one run says of r of them, of his own
choice, whether they did, and is right v times. If the run is (ε, δ)-private, so good a result has at most the chance
`p_value`; where that is below 5 %, the run is not (ε, δ)-private, with 95 % confidence.

    >>> round(Guesses(canaries=1000, made=100, right=75).epsilon(1e-4, level=0.05), 3)  # their appendix D
    0.673
"""

import math

import numpy as np
from scipy.stats import binom

from shared.wire import Record

#: No audit of ours could prove more: e^-60 is no chance that is ever measured.
MOST_EPSILON = 60.0


class Guesses(Record, frozen=True):
    """`canaries` m planted or not, `made` r guesses about them, `right` v of these."""

    canaries: int
    made: int
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.made <= self.canaries:
            raise ValueError(f"0 ≤ right ≤ made ≤ canaries, got {self.right}, {self.made}, {self.canaries}")

    def p_value(self, epsilon: float, delta: float) -> float:
        """Most that the chance of at least `right` right guesses is if the run is (ε, δ)-private.

        Corollary 5.4 and appendix D there: P[X ≥ v] + 2 m δ × max over i of P[v > X ≥ v − i] ÷ i, X binomial over r
        guesses, each right with probability e^ε ÷ (e^ε + 1).
        """
        rate = 1 / (1 + math.exp(-epsilon))
        tail = float(binom.sf(self.right - 1, self.made, rate))
        if delta == 0 or self.right == 0:
            return min(1.0, tail)
        reach = np.arange(1, self.right + 1)
        below = np.cumsum(binom.pmf(self.right - reach, self.made, rate))
        return min(1.0, tail + 2 * self.canaries * delta * float((below / reach).max()))

    def epsilon(self, delta: float, *, level: float) -> float:
        """The largest ε, to 1e-6, that the guesses contradict at `level` (0.05 for 95 % confidence); 0 if none."""
        if self.p_value(0.0, delta) >= level:
            return 0.0
        low, high = 0.0, MOST_EPSILON
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if self.p_value(middle, delta) < level else (low, middle)
        return low
