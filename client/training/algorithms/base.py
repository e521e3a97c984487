"""What an algorithm asks of a hospital: a pull on its steps before the round, vectors for the sum after it.

    pull(begin) → Pull or None;   finish(begin, update, steps) → Made

Both pure. What a hospital keeps between rounds goes in by `Begin.kept` and comes out by `Made.kept`; on disk it is put
by client/kept.py, and only a round that was counted is gone on from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client.training.algorithms.pull import Pull
from shared.study import Study

Vector = NDArray[np.float32]
#: what a hospital keeps of a run, by name
Kept = Mapping[str, Vector]


@dataclass(frozen=True)
class Begin:
    """A round's beginning: its number, the `weights` float32 [d] that move, what came `beside` them [k × d], and what
    this hospital `kept`, empty at first."""

    study: Study
    round: int
    weights: Vector
    beside: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    kept: Kept = field(default_factory=dict)

    def own(self, name: str) -> Vector:
        """What was kept as `name` [d]; zeros if nothing was."""
        found = self.kept.get(name)
        return np.zeros_like(self.weights) if found is None else found


@dataclass(frozen=True)
class Made:
    """`up`: vectors for the sum, float32 [d] each, the update first; `kept`: what replaces what was kept."""

    up: tuple[Vector, ...]
    kept: dict[str, Vector] = field(default_factory=dict)


class Local(Protocol):
    """One algorithm at a hospital."""

    def pull(self, begin: Begin) -> Pull | None:
        """What is added to the loss of the round's steps."""

    def finish(self, begin: Begin, update: Vector, steps: int) -> Made:
        """What `update` [d], no longer than allowed, of so many local `steps` becomes."""


class Plain:
    """Nothing is added, the update is all: for every algorithm whose work is the coordinator's."""

    def pull(self, begin: Begin) -> Pull | None:
        """None."""
        del begin
        return None

    def finish(self, begin: Begin, update: Vector, steps: int) -> Made:
        """The update."""
        del begin, steps
        return Made((update,))


def bounded(vector: Vector, norm: float) -> tuple[Vector, bool]:
    """`vector` [d], scaled to a length just below `norm` if it is longer; and whether it was. Not finite where `vector`
    is not."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not length > norm:
        return vector, False
    return vector * np.float32(norm / length * (1 - 1e-6)), True
