"""The privacy ledger: what each patient of this hospital has been exposed to, over all rounds, runs and studies.

Rules (PRIVACY.md):
1. Reserve, then train: `reserve` commits a round's event to disk before the first gradient, or refuses; the same before
   a noisy evaluation of held-out patients.
2. Nothing is ever refunded: there is no call that removes or lowers a charge, and the file itself refuses one.
3. A charge falls on every patient of the run's split, whether a step drew them or not.
4. The same plan charged twice is one charge: the very same masked bytes are sent again for it.
5. ε counts per patient: charges of all studies that patient was in compose, whatever they were for.
6. A run is held to what its own study promised, lost and repeated rounds included: they were charged. Training and
   evaluations have a promise each; a patient is in one split only.
7. Running totals are derived from the charges, in the transaction that uses them: they cannot disagree.

Patients are keyed hashes; the ledger holds no identity.

    ledger = Ledger(home / "ledger.sqlite", archive=archive_tag(key))
    ledger.reserve(patients, event, purpose, limits, promise)   # RefusalError, or charged and on disk
"""

import hmac
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from client.ledger import store
from client.ledger.exposure import EVERYONE, Exposures
from client.ledger.past import Past, Spent, Taken, enter
from client.ledger.records import Limits, Line, Promise, Purpose, What
from client.ledger.schema import MIGRATIONS, SCHEMA, VERSION
from client.ledger.statement import Statement, statement_of
from client.ledger.tally import EVERYTHING, Running, Scope, Tally
from client.ledger.verdicts import changed, exhausted, used_up
from client.ledger.worst import worst
from shared.accounting import Event, SampledGaussian, merged, rdp_epsilon_of
from shared.database import open_database, reading, transaction

#: Sets of patients whose cohort is remembered: a run's training split, and its held-out ones.
_REMEMBERED = 8


class Ledger:
    """The ledger in one SQLite file; any number of processes may hold it.

    `archive`: the tag of the archive key (`archive_tag`) under which the patients are named; a ledger keeps to the
    first one it is told. Raises SiteError for another, and for a file that is damaged or of a later version.
    """

    def __init__(self, path: Path, *, archive: bytes | None = None) -> None:
        self._db = open_database(path, SCHEMA, version=VERSION, migrations=MIGRATIONS)
        self._tally, self._exposures, self._of = Tally(), Exposures.of(()), -1
        self._cohorts: dict[tuple[bytes, ...], int] = {}
        self._within: dict[int, Exposures] = {}
        if archive is not None:
            with transaction(self._db) as db:
                store.adopt(db, archive)

    def reserve(
        self,
        patients: Sequence[bytes],
        event: Event,
        purpose: Purpose,
        limits: Limits,
        promise: Promise | None = None,
    ) -> None:
        """Charge `event` to every patient, on disk before this returns.

        Raises RefusalError, with nothing charged, if any of them would pass a limit of the hospital or, within this
        run, what the study itself promised; SiteError if the plan was charged before, but for other patients (the
        archive changed between a crash and the start after it) or another event.
        """
        chosen = tuple(patients)
        try:
            with transaction(self._db) as db:
                known = self._cohorts.get(chosen)
                cohort = store.cohort_of(db, chosen) if known is None else known
                before = store.charge_of(db, purpose.plan)
                if before is not None:
                    if (before.cohort, before.event) != (cohort, event):
                        raise changed(patients=before.cohort != cohort)
                    return
                self._catch_up(db)
                self._judge(cohort, event, purpose, limits)
                if promise is not None:
                    self._hold(cohort, event, purpose, promise)
                store.add_charge(db, cohort, event, purpose)
        except BaseException:
            self._of = -1  # a cohort made in vain is gone, and its number will be another's
            raise
        if len(self._cohorts) >= _REMEMBERED:
            self._cohorts.clear()
        self._cohorts[chosen] = cohort

    def _catch_up(self, db: sqlite3.Connection) -> None:
        """Rule 7: read what was committed since the last time. The caller holds a transaction."""
        for charge in store.charges(db, after=self._tally.last):
            self._tally.add(charge)
        newest = store.last_cohort(db)
        if newest != self._of:
            self._exposures, self._of = store.exposures(db), newest
            self._within.clear()

    def _judge(self, cohort: int, event: Event, purpose: Purpose, limits: Limits) -> None:
        total = self._worst(EVERYTHING, (event,), limits.delta, cohort=cohort)
        if total > limits.epsilon_total:
            raise exhausted("privacy.epsilon_total", "in all studies", limits.epsilon_total, total)
        here = self._worst(Scope(study_hash=purpose.study_hash), (event,), limits.delta, cohort=cohort)
        if here > limits.epsilon_per_study:
            raise exhausted("privacy.epsilon_per_study", "in this study", limits.epsilon_per_study, here)

    def _hold(self, cohort: int, event: Event, purpose: Purpose, promise: Promise) -> None:
        """Rule 6."""
        scope = Scope(run=purpose.run, what=purpose.what)
        here = self._worst(scope, (event,), promise.delta, cohort=cohort)
        if here > promise.epsilon:
            raise used_up(purpose.what, promise.epsilon, here)

    def _worst(self, scope: Scope, extra: Iterable[Event], delta: float, *, cohort: int | None = None) -> float:
        """Largest ε over the patients of `cohort` (of all, and one never seen, if None) from the charges in `scope` and
        `extra`. The caller has caught up."""
        running, more = self._tally.of(scope), merged(extra)
        sets = self._exposures if cohort is None else self._sets_in(cohort)
        row = worst(sets, running.spending(extra), delta)
        steps, stated = _spent(running, sets, row)
        steps.update(more.steps)
        return rdp_epsilon_of(steps, (stated[0] + more.stated[0], stated[1] + more.stated[1]), delta)

    def _sets_in(self, cohort: int) -> Exposures:
        """Those of the patients of `cohort`; of one never seen, if nobody is in it."""
        if cohort not in self._within:
            found = self._exposures.only(np.flatnonzero(self._exposures.has(cohort)))
            self._within = {cohort: found if len(found) else Exposures.of(())}
        return self._within[cohort]

    def epsilon(self, delta: float, *, run: str | None = None, what: What | None = None) -> float:
        """ε of the patient who spent most: in all, within one run, or within one run for `what`."""
        with reading(self._db) as db:
            self._catch_up(db)
            return self._worst(Scope(run=run, what=what), (), delta)

    def epsilon_with(self, events: Sequence[Event], delta: float, *, study_hash: bytes | None = None) -> float:
        """ε of the patient who would have spent most, in all or within one study, if `events` were charged to all."""
        with reading(self._db) as db:
            self._catch_up(db)
            return self._worst(Scope(study_hash=study_hash), events, delta)

    def events(self, run: str, what: What = "train") -> tuple[SampledGaussian, ...]:
        """Every event that `run` charged for `what`, in order of its rounds."""
        with reading(self._db) as db:
            rows = [charge for charge in store.charges_of(db, run) if charge.purpose.what == what]
        rows.sort(key=lambda charge: (charge.purpose.round, charge.number))
        return tuple(charge.event for charge in rows if isinstance(charge.event, SampledGaussian))

    def totals(self, run: str, what: What = "train") -> tuple[SampledGaussian, ...]:
        """What `events` gives, put together: one event of each kind with all its steps, at no cost however many."""
        with reading(self._db) as db:
            self._catch_up(db)
            return self._tally.of(Scope(run=run, what=what)).totals()

    def statement(self, delta: float) -> Statement:
        """What was spent, for the data protection officer."""
        with reading(self._db) as db:
            self._catch_up(db)
            return statement_of(tuple(store.charges(db)), self._tally, self._exposures, store.sizes(db), delta)

    def lines(self, delta: float) -> tuple[Line, ...]:
        """What was spent, run by run, in the order it began."""
        return self.statement(delta).lines

    def plans(self) -> frozenset[bytes]:
        """The digests of all plans that were charged."""
        with reading(self._db) as db:
            return frozenset(plan for (plan,) in db.execute("SELECT plan FROM charge"))

    def check(self) -> None:
        """Raise SiteError unless the file is whole and every charge in it can be read."""
        with reading(self._db) as db:
            store.check(db)

    def take_over(self, pasts: Iterable[Past]) -> Taken:
        """Charge what was spent elsewhere or before, all of it or nothing; what is here already is not charged again.

        Held against no limit: it was spent. Raises SiteError if it cannot be on disk.
        """
        try:
            with transaction(self._db) as db:
                return enter(db, pasts)
        finally:
            self._of = -1

    def history(self, *, everyone: bool) -> tuple[Past, ...]:
        """All charges, for another ledger to take over: cohort by cohort, or as charges of everyone."""
        with reading(self._db) as db:
            spent: defaultdict[int, list[Spent]] = defaultdict(list)
            for charge in store.charges(db):
                spent[EVERYONE if everyone else charge.cohort].append(Spent(charge.event, charge.purpose, charge.at))
            return tuple(
                Past(None if cohort == EVERYONE else sorted(store.members(db, cohort)), some)
                for cohort, some in spent.items()
            )

    def patients(self) -> frozenset[bytes]:
        """Whoever was ever charged, as keyed hashes."""
        with reading(self._db) as db:
            return frozenset(key for (key,) in db.execute("SELECT key FROM patient"))

    @property
    def tag(self) -> bytes | None:
        """`archive_tag` of the key under which patients are named here; None while nobody has said."""
        with reading(self._db) as db:
            row = db.execute("SELECT tag FROM archive").fetchone()
            return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _spent(running: Running, sets: Exposures, row: int) -> tuple[Counter[tuple[float, float]], tuple[float, float]]:
    """Steps of each kind and what was stated of the patients of set `row`."""
    cohorts = sets.cohorts(row)
    return running.steps(cohorts), running.stated(cohorts)


def archive_tag(key: bytes) -> bytes:
    """16 bytes that tell whether two ledgers name patients under the same archive key; they tell nothing of it."""
    return hmac.digest(key, b"konsil/ledger-archive/v1", "sha256")[:16]
