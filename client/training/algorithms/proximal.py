"""FedProx at a hospital (Li et al. 2020, arXiv 1812.06127, equation 2): F(w) + μ ÷ 2 |w − wᵗ|²."""

from dataclasses import dataclass

from client.training.algorithms.base import Begin, Plain
from client.training.algorithms.pull import Pull


@dataclass(frozen=True)
class Proximal(Plain):
    """FedProx with this `mu`."""

    mu: float

    def pull(self, begin: Begin) -> Pull | None:
        """To where the round began."""
        return Pull(self.mu, anchor=begin.weights)
