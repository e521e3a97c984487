"""Running totals: the charges added up by cohort and kind of event, within each scope that a question may be about.

Derived, never stored: a tally holds what the charges read so far come to, and whoever asks reads the newer ones first,
in the same transaction. Charges are only ever added, so a tally never has to take anything back.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from client.ledger.records import What
from client.ledger.store import Charge
from client.ledger.worst import Spending
from shared.accounting import Event, SampledGaussian, alone
from shared.renyi import ORDERS, Curve, curve


@dataclass(frozen=True)
class Scope:
    """Which charges a question is about: all, those of one study, of one run, or of one run for one thing."""

    study_hash: bytes | None = None
    run: str | None = None
    what: What | None = None


#: Each charge of this ledger.
EVERYTHING = Scope()


@dataclass
class Sum:
    """The events of one cohort put together: steps of each kind (σ, q, honest), what was stated, and the Rényi
    divergences float64 [orders] of the steps."""

    steps: Counter[tuple[float, float, int]] = field(default_factory=Counter)
    stated: list[tuple[float, float]] = field(default_factory=list)
    divergence: Curve = field(default_factory=lambda: np.zeros(len(ORDERS)))

    def add(self, event: Event) -> None:
        """Put `event` to the others."""
        if isinstance(event, SampledGaussian):
            self.steps[event.noise_multiplier, event.sampling_rate, event.honest] += event.steps
            self.divergence = self.divergence + event.steps * curve(event.noise_multiplier, event.sampling_rate)
        else:
            self.stated.append((event.epsilon, event.delta))


class Running:
    """What the charges of one scope come to, cohort by cohort."""

    def __init__(self) -> None:
        self._sums: defaultdict[int, Sum] = defaultdict(Sum)

    def add(self, cohort: int, event: Event) -> None:
        """Charge `event` to `cohort`."""
        self._sums[cohort].add(event)

    def cohorts(self) -> tuple[int, ...]:
        """Those with a charge."""
        return tuple(sorted(self._sums))

    def spending(self, extra: Iterable[Event] = ()) -> Spending:
        """What each cohort has spent; `extra` is spent by everyone besides."""
        whole = dict(self._sums)
        whole[0] = more = Sum() if 0 not in whole else Sum(divergence=whole[0].divergence, stated=[*whole[0].stated])
        for event in extra:
            more.add(event)
        width = max(whole) + 1
        found = Spending(np.zeros((width, len(ORDERS))), np.zeros(width), np.zeros(width))
        for cohort, one in whole.items():
            found.divergence[cohort] = one.divergence
            found.epsilon[cohort] = math.fsum(epsilon for epsilon, _ in one.stated)
            found.delta[cohort] = math.fsum(delta for _, delta in one.stated)
        return found

    def steps(self, cohorts: Iterable[int]) -> Counter[tuple[float, float]]:
        """Steps of each kind (σ, q) of a patient who is in `cohorts`."""
        found: Counter[tuple[float, float]] = Counter()
        for one in (self._sums[cohort] for cohort in cohorts if cohort in self._sums):
            for (sigma, rate, _), count in one.steps.items():
                found[sigma, rate] += count
        return found

    def stated(self, cohorts: Iterable[int]) -> tuple[float, float]:
        """Sums of the stated ε and δ of a patient who is in `cohorts`."""
        all_of = [pair for cohort in cohorts if cohort in self._sums for pair in self._sums[cohort].stated]
        return math.fsum(epsilon for epsilon, _ in all_of), math.fsum(delta for _, delta in all_of)

    def totals(self) -> tuple[SampledGaussian, ...]:
        """All steps of all cohorts together, one event of each kind."""
        found: Counter[tuple[float, float, int]] = Counter()
        for one in self._sums.values():
            found.update(one.steps)
        return tuple(_event(kind, steps) for kind, steps in sorted(found.items()))

    def alone(self) -> "Running":
        """The same charges if no other hospital were honest: each hospital's own share of the noise counts alone."""
        found = Running()
        for cohort, one in self._sums.items():
            for own in alone(_event(kind, steps) for kind, steps in one.steps.items()):
                found.add(cohort, own)
            found._sums[cohort].stated = [*one.stated]
        return found


def _event(kind: tuple[float, float, int], steps: int) -> SampledGaussian:
    sigma, rate, honest = kind
    return SampledGaussian(sampling_rate=rate, noise_multiplier=sigma, steps=steps, honest=honest)


class Tally:
    """The running totals of every scope, from the charges up to number `last`."""

    def __init__(self) -> None:
        self.last = 0
        self._scopes: defaultdict[Scope, Running] = defaultdict(Running)

    def add(self, charge: Charge) -> None:
        """The next charge."""
        of = charge.purpose
        for scope in (EVERYTHING, Scope(study_hash=of.study_hash), Scope(run=of.run), Scope(run=of.run, what=of.what)):
            self._scopes[scope].add(charge.cohort, charge.event)
        self.last = charge.number

    def of(self, scope: Scope) -> Running:
        """What was charged within `scope`."""
        return self._scopes[scope] if scope in self._scopes else Running()
