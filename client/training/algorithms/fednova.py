"""FedNova at a hospital (Wang et al. 2020, arXiv 2007.07481, section 4): the update of one step, in the mean of its
τ steps of plain SGD."""

import numpy as np

from client.training.algorithms.base import Begin, Made, Plain, Vector


class Normalised(Plain):
    """FedNova."""

    def finish(self, begin: Begin, update: Vector, steps: int) -> Made:
        """Update ÷ steps."""
        del begin
        return Made((update / np.float32(steps),))
