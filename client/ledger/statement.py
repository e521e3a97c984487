"""What the data protection officer reads: what was spent, for what, when, and by how many patients how much.

Pure: figures in, figures out. No patient is in it, only how many.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from client.ledger.exposure import Exposures
from client.ledger.records import Line, What
from client.ledger.store import Charge
from client.ledger.tally import EVERYTHING, Running, Scope, Tally
from client.ledger.worst import epsilons, worst
from shared.accounting import rdp_epsilon_of


@dataclass(frozen=True)
class Total:
    """One study over all its runs, or (name "") everything. `alone`: if no other hospital were honest."""

    study: str
    study_hash: bytes
    patients: int
    epsilon: float
    alone: float


@dataclass(frozen=True)
class Statement:
    """The whole ledger at `delta`: runs in the order they began, studies likewise, everything; and of each distinct
    history that patients have, how many they are and their ε, from the largest down. `charges`: how many in all."""

    delta: float
    lines: tuple[Line, ...]
    studies: tuple[Total, ...]
    whole: Total
    histories: tuple[tuple[float, int], ...]
    charges: int

    def bands(self, edges: Sequence[float]) -> tuple[int, ...]:
        """How many patients have an ε of at most edges[0], above that and at most edges[1], …, above the last; to nine
        figures, so that whoever has exactly what a limit allows is not above it by rounding."""
        counts = [0] * (len(edges) + 1)
        for epsilon, patients in self.histories:
            counts[int(np.searchsorted(edges, epsilon * (1 - 1e-9), side="left"))] += patients
        return tuple(counts)


@dataclass(frozen=True)
class _Book:
    """What every figure here is worked out from. `patients` int64 [G]: how many are in each set."""

    tally: Tally
    exposures: Exposures
    patients: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    delta: float

    def figures(self, scope: Scope) -> tuple[int, float, float]:
        """Patients charged within `scope`, ε of the one who spent most, and that without the others' noise."""
        running = self.tally.of(scope)
        touched = np.zeros(len(self.exposures), dtype=bool)
        for cohort in running.cohorts():
            touched |= self.exposures.has(cohort)
        return int(self.patients[touched].sum()), self._most(running), self._most(running.alone())

    def _most(self, running: Running) -> float:
        cohorts = self.exposures.cohorts(worst(self.exposures, running.spending(), self.delta))
        return rdp_epsilon_of(running.steps(cohorts), running.stated(cohorts), self.delta)


def statement_of(
    charges: Sequence[Charge], tally: Tally, exposures: Exposures, sizes: Mapping[int, int], delta: float
) -> Statement:
    """The statement at `delta` of `charges`, which `tally` holds added up. `sizes`: patients of each set by its id."""
    patients = np.array([sizes.get(int(row), 0) for row in exposures.ids], dtype=np.int64)
    book = _Book(tally, exposures, patients, delta)
    runs: defaultdict[tuple[str, bytes, What], list[Charge]] = defaultdict(list)
    for charge in charges:
        runs[charge.purpose.run, charge.purpose.study_hash, charge.purpose.what].append(charge)
    lines = sorted((_line(book, of) for of in runs.values()), key=lambda line: (line.first, line.run, line.what))
    names = {line.study_hash: line.study for line in reversed(lines)}
    order = dict.fromkeys(line.study_hash for line in lines)
    return Statement(
        delta,
        tuple(lines),
        tuple(Total(names[of], of, *book.figures(Scope(study_hash=of))) for of in order),
        Total("", b"", *book.figures(EVERYTHING)),
        _histories(book),
        len(charges),
    )


def _line(book: _Book, charges: Sequence[Charge]) -> Line:
    about = charges[0].purpose
    patients, epsilon, alone = book.figures(Scope(run=about.run, what=about.what))
    at = sorted(charge.at for charge in charges)
    rounds = len({charge.purpose.round for charge in charges})
    return Line(about.study, about.study_hash, about.run, about.what, rounds, patients, epsilon, alone, at[0], at[-1])


def _histories(book: _Book) -> tuple[tuple[float, int], ...]:
    found = epsilons(book.exposures, book.tally.of(EVERYTHING).spending(), book.delta)
    counted = zip(found.tolist(), book.patients.tolist(), strict=True)
    return tuple(sorted(((epsilon, count) for epsilon, count in counted if count), reverse=True))
