"""The privacy ledger: what each patient of this hospital has been exposed to, over all rounds, runs and studies.

Rules (PRIVACY.md):
1. Reserve, then train: `reserve` commits a round's event to disk before the first gradient, or refuses.
2. Nothing is ever refunded: there is no call that removes or lowers a charge.
3. A charge falls on every patient of the run's training split, whether a step drew them or not.
4. The same plan charged twice is one charge: the very same masked bytes are sent again for it.
5. ε counts per patient: charges of all studies that patient was in compose.
6. A run is held to what its own study promised, lost and repeated rounds included: they were charged.

Patients are keyed hashes; the ledger holds no identity.
"""

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.accounting import SampledGaussian, rdp_epsilon
from shared.database import open_database, transaction
from shared.errors import RefusalError, SiteError
from shared.wire import pack, unpack

_SCHEMA = """
CREATE TABLE cohort (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE member (
    cohort INTEGER NOT NULL REFERENCES cohort(id), patient BLOB NOT NULL, PRIMARY KEY (cohort, patient)
) WITHOUT ROWID;
CREATE TABLE charge (
    plan BLOB PRIMARY KEY, cohort INTEGER NOT NULL REFERENCES cohort(id),
    study TEXT NOT NULL, study_hash BLOB NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL,
    event BLOB NOT NULL, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Limits:
    """The most ε at `delta` one patient may spend: in all, and within one study (by its hash)."""

    epsilon_total: float
    epsilon_per_study: float
    delta: float


@dataclass(frozen=True)
class Promise:
    """The ε at `delta` that a study states for one patient over one run of it."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class Purpose:
    """What a charge is for. `plan` is the 32-byte digest that names the round's attempt."""

    plan: bytes
    study: str
    study_hash: bytes
    run: str
    round: int


@dataclass(frozen=True)
class Line:
    """One line for the data protection officer: a study's run, its rounds, and the patients it touched."""

    study: str
    run: str
    rounds: int
    patients: int
    epsilon: float
    first: str
    last: str


class Ledger:
    """The ledger in one SQLite file; any number of processes may hold it."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA, version=1)

    def reserve(
        self,
        patients: Sequence[bytes],
        event: SampledGaussian,
        purpose: Purpose,
        limits: Limits,
        promise: Promise | None = None,
    ) -> None:
        """Charge `event` to every patient, on disk before this returns.

        Raises RefusalError, with nothing charged, if any of them would pass a limit of the hospital or, within this
        run, what the study itself promised; SiteError if the plan was charged before, but for other patients (the
        archive changed between a crash and the start after it).
        """
        with transaction(self._db) as db:
            cohort = _cohort(db, patients)
            charged = db.execute("SELECT cohort FROM charge WHERE plan = ?", (purpose.plan,)).fetchone()
            if charged == (cohort,):
                return
            if charged is not None:
                raise SiteError(
                    "training patients",
                    expected="those this plan was charged for",
                    got="others: the archive changed",
                    do="Ask for the round anew, by a new plan.",
                )
            self._judge(cohort, event, purpose, limits)
            if promise is not None:
                self._hold(cohort, event, purpose, promise)
            db.execute(
                "INSERT INTO charge (plan, cohort, study, study_hash, run, round, event) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (purpose.plan, cohort, purpose.study, purpose.study_hash, purpose.run, purpose.round, pack(event)),
            )

    def _judge(self, cohort: int, event: SampledGaussian, purpose: Purpose, limits: Limits) -> None:
        total = self._worst((event,), limits.delta, cohort=cohort)
        if total > limits.epsilon_total:
            raise _exhausted("privacy.epsilon_total", "in all studies", limits.epsilon_total, total)
        here = self._worst((event,), limits.delta, cohort=cohort, study_hash=purpose.study_hash)
        if here > limits.epsilon_per_study:
            raise _exhausted("privacy.epsilon_per_study", "in this study", limits.epsilon_per_study, here)

    def _hold(self, cohort: int, event: SampledGaussian, purpose: Purpose, promise: Promise) -> None:
        """Rule 6."""
        here = self._worst((event,), promise.delta, cohort=cohort, run=purpose.run)
        if here > promise.epsilon:
            raise RefusalError(
                "the study's own privacy.epsilon",
                rule="study.epsilon",
                expected=f"at most ε = {promise.epsilon:g} per patient in one run",
                got=f"ε = {here:.3g} after the next round",
                do="Rounds that were lost and repeated have used it up; the model so far stands.",
            )

    def _worst(
        self,
        extra: tuple[SampledGaussian, ...],
        delta: float,
        *,
        cohort: int | None = None,
        study_hash: bytes | None = None,
        run: str | None = None,
    ) -> float:
        """Largest ε over the patients of `cohort` (of all, if None) from the chosen charges and `extra`."""
        events = defaultdict(list)
        for of, data in self._db.execute(
            "SELECT cohort, event FROM charge WHERE (?1 IS NULL OR study_hash = ?1) AND (?2 IS NULL OR run = ?2)",
            (study_hash, run),
        ):
            events[of].append(unpack(SampledGaussian, data))
        worst = rdp_epsilon(extra, delta)
        for group in self._groups(cohort):
            spent = [event for of in group for event in events[of]]
            worst = max(worst, rdp_epsilon((*spent, *extra), delta))
        return worst

    def _groups(self, cohort: int | None) -> set[tuple[int, ...]]:
        """The distinct sets of cohorts that patients (of `cohort`) belong to."""
        rows = self._db.execute(
            "SELECT DISTINCT cohorts FROM (SELECT group_concat(cohort) AS cohorts FROM"
            " (SELECT patient, cohort FROM member WHERE ?1 IS NULL"
            "  OR patient IN (SELECT patient FROM member WHERE cohort = ?1) ORDER BY patient, cohort)"
            " GROUP BY patient)",
            (cohort,),
        )
        return {tuple(int(part) for part in row[0].split(",")) for row in rows}

    def epsilon(self, delta: float, *, run: str | None = None) -> float:
        """ε of the patient who spent most: in all, or within one run."""
        return self._worst((), delta, run=run)

    def epsilon_with(
        self, events: Sequence[SampledGaussian], delta: float, *, study_hash: bytes | None = None
    ) -> float:
        """ε of the patient who would have spent most, in all or within one study, if `events` were charged to all."""
        return self._worst(tuple(events), delta, study_hash=study_hash)

    def events(self, run: str) -> tuple[SampledGaussian, ...]:
        """Every event charged by `run`, in order of its rounds."""
        rows = self._db.execute("SELECT event FROM charge WHERE run = ? ORDER BY round, at", (run,))
        return tuple(unpack(SampledGaussian, row[0]) for row in rows)

    def lines(self, delta: float) -> tuple[Line, ...]:
        """What was spent, run by run, in the order it began."""
        rows = self._db.execute(
            "SELECT min(study), run, count(DISTINCT round), min(at), max(at), count(DISTINCT patient)"
            " FROM charge JOIN member USING (cohort) GROUP BY run ORDER BY min(at), run"
        )
        return tuple(
            Line(study, run, rounds, patients, self.epsilon(delta, run=run), first, last)
            for study, run, rounds, first, last, patients in rows
        )


def _cohort(db: sqlite3.Connection, patients: Sequence[bytes]) -> int:
    members = sorted(set(patients))
    digest = hashlib.sha256(b"konsil/cohort/v1" + b"".join(members)).digest()
    row = db.execute("SELECT id FROM cohort WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO cohort (digest) VALUES (?) RETURNING id", (digest,)).fetchone()
        db.executemany("INSERT INTO member VALUES (?, ?)", ((row[0], patient) for patient in members))
    return int(row[0])


def _exhausted(rule: str, where: str, limit: float, would_be: float) -> RefusalError:
    return RefusalError(
        f"privacy budget {where}",
        rule=rule,
        expected=f"at most ε = {limit:g} per patient",
        got=f"ε = {would_be:.3g} after the next round",
        do="This hospital trains no further; a study with fewer rounds or a smaller ε would fit.",
    )
