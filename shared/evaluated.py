"""How the integers of one evaluation lie: counts of all images, of each subgroup, and the hospitals' votes.

Guarantees: equally many for a study whatever a hospital holds; they add up over hospitals. A hospital that holds fewer
patients of a subgroup than it shows sends zeros for it and 1 in `hidden`, so that a sum says how many did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.study import Study
from shared.subgroups import subgroups
from shared.tasks.registry import kind_of
from shared.wire import digest


@dataclass(frozen=True)
class Evaluated:
    """`everybody`: counts of the kind (shared/tasks) over all images; `groups`: of each subgroup; `hidden`: hospitals
    that keep a subgroup back, one number each; `harmful` of `votes` hospitals found the new model worse."""

    everybody: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] = ()
    hidden: tuple[int, ...] = ()
    harmful: int = 0
    votes: int = 0

    def to_integers(self) -> list[int]:
        """In the order of the wire."""
        flat = [value for group in self.groups for value in group]
        return [*self.everybody, *flat, *self.hidden, self.harmful, self.votes]

    @classmethod
    def from_integers(cls, study: Study, values: Sequence[int]) -> "Evaluated":
        """The inverse, of one hospital or a sum. Raises ValueError for another number of them."""
        if len(values) != evaluated_length(study):
            raise ValueError(f"expected {evaluated_length(study)} counts, got {len(values)}")
        each, number = kind_of(study).counts, len(subgroups(study.evaluation))
        pieces = [tuple(values[first : first + each]) for first in range(0, each * (1 + number), each)]
        hidden = tuple(values[each * (1 + number) : -2])
        return cls(pieces[0], tuple(pieces[1:]), hidden, values[-2], values[-1])


def model_digest(weights: bytes | memoryview) -> bytes:
    """The 32 bytes by which votes name a model, of its weights as they travel."""
    return digest("konsil/model/v1", weights)


def evaluated_length(study: Study) -> int:
    """How many integers there are."""
    number = len(subgroups(study.evaluation))
    return kind_of(study).counts * (1 + number) + number + 2
