"""FedDyn at a hospital (Acar et al. 2021, arXiv 2111.04263, algorithm 1).

    θ_i = argmin L_i(θ) − ⟨g_i, θ⟩ + α ÷ 2 |θ − w|²,      g_i ← g_i − α (θ_i − w)

The minimum is approached by the study's own steps. At a minimum the new g_i is the gradient there (equation 2), so the
next round's pull takes away what drew this hospital to its own optimum.
"""

from dataclasses import dataclass

import numpy as np

from client.training.algorithms.base import Begin, Made, Vector
from client.training.algorithms.pull import Pull

#: What g_i is kept as.
GRADIENT = "gradient"


@dataclass(frozen=True)
class Dynamic:
    """FedDyn with this `alpha`."""

    alpha: float

    def pull(self, begin: Begin) -> Pull | None:
        """To where the round began, and against what was learned of the own optimum."""
        return Pull(self.alpha, anchor=begin.weights, linear=-begin.own(GRADIENT))

    def finish(self, begin: Begin, update: Vector, steps: int) -> Made:
        """The update; g_i for the next round."""
        del steps
        return Made((update,), {GRADIENT: begin.own(GRADIENT) - np.float32(self.alpha) * update})
