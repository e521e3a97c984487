"""SCAFFOLD at a hospital (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, option II).

    y ← y − η (g(y) − c_i + c)                      equation 3
    c_i⁺ = c_i − c + (x − y) ÷ (K η)                equation 4, option II

The sum gets y − x and, in units of `control_unit`, c_i⁺ − c_i; both no longer than `aggregation.update_norm`. What is
kept is what was sent: a change that had to be scaled down is kept scaled down, so that the coordinator's c stays the
mean of all c_i. K is this hospital's own number of steps, η the round's learning rate.
"""

import numpy as np

from client.training.algorithms.base import Begin, Made, Vector, bounded
from client.training.algorithms.pull import Pull
from shared.algorithms.control import control_unit
from shared.optimiser import learning_rate

#: What c_i is kept as.
CONTROL = "control"


class Controlled:
    """SCAFFOLD."""

    def pull(self, begin: Begin) -> Pull | None:
        """c − c_i, along the whole way."""
        return Pull(linear=begin.beside - begin.own(CONTROL))

    def finish(self, begin: Begin, update: Vector, steps: int) -> Made:
        """The update, and the change of the control variate."""
        training = begin.study.training
        change = -begin.beside - update / np.float32(steps * learning_rate(training, begin.round))
        unit = np.float32(control_unit(training, begin.round))
        sent, _ = bounded(change * unit, begin.study.aggregation.update_norm)
        return Made((update, sent), {CONTROL: begin.own(CONTROL) + sent / unit})
