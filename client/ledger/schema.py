"""The ledger's tables, and how ledgers of earlier formats become ones of today.

- `cohort`: the sets of patients that were charged together; row 0 is everyone, whoever comes later too.
- `patient`: each patient's keyed hash and its exposure.
- `exposure`: the distinct sets of cohorts that patients are in, as bits: bit i, counted from the first byte's lowest,
  is cohort i. The only statement of who is in which cohort, so nothing can disagree with it; `member` is a view of it.
- `charge`: what was spent, by whom, for what. Only ever added to: triggers refuse everything else. Running totals are
  not stored; whoever needs them adds up the charges.
- `archive`: the tag of the archive key under which patients are named; one row once it is known.

Format 1 had `member` as a table, and events without a tag.
"""

import sqlite3
from typing import Literal

from client.ledger.store import packed
from shared.accounting import SampledGaussian
from shared.database import Migration, apply_statements
from shared.errors import PeerError, SiteError
from shared.wire import Record, unpack

VERSION = 2

#: The view reads bit i of the bits: the hexadecimal digit of byte i ÷ 8 that holds it, shifted by i mod 4.
_TABLES = """
CREATE TABLE exposure (id INTEGER PRIMARY KEY, cohorts BLOB NOT NULL UNIQUE);
CREATE TABLE patient (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, exposure INTEGER NOT NULL REFERENCES exposure(id)
);
CREATE INDEX patient_exposure ON patient (exposure);
CREATE TABLE charge (
    number INTEGER PRIMARY KEY, plan BLOB NOT NULL UNIQUE, cohort INTEGER NOT NULL REFERENCES cohort(id),
    what TEXT NOT NULL, study TEXT NOT NULL, study_hash BLOB NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL,
    event BLOB NOT NULL, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);
CREATE INDEX charge_run ON charge (run);
CREATE TABLE archive (tag BLOB NOT NULL);
INSERT INTO cohort (id, digest) VALUES (0, x'');
CREATE TRIGGER charge_stays BEFORE UPDATE ON charge
BEGIN
    SELECT raise(ABORT, 'a charge is never changed');
END;
CREATE TRIGGER charge_goes_not BEFORE DELETE ON charge
BEGIN
    SELECT raise(ABORT, 'a charge is never refunded');
END;
CREATE TRIGGER patient_goes_not BEFORE DELETE ON patient
BEGIN
    SELECT raise(ABORT, 'a patient with charges stays');
END;
CREATE VIEW member AS
    SELECT cohort.id AS cohort, patient.key AS patient FROM patient JOIN exposure ON exposure.id = patient.exposure
    JOIN cohort ON instr(
        '0123456789ABCDEF', substr(hex(substr(cohorts, cohort.id / 8 + 1, 1)), 2 - cohort.id % 8 / 4, 1)
    ) - 1 >> cohort.id % 4 & 1;
"""

SCHEMA = f"""
CREATE TABLE cohort (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
{_TABLES}
"""


class _EventOne(Record, frozen=True):
    """An event of format 1: training in local mode, the only private one there was."""

    sampling_rate: float
    noise_multiplier: float
    steps: int
    version: Literal[1] = 1


def _from_one(db: sqlite3.Connection) -> None:
    """Format 1 to 2: the same patients, cohorts, plans and spending."""
    apply_statements(db, "ALTER TABLE charge RENAME TO charge_one; ALTER TABLE member RENAME TO member_one;")
    apply_statements(db, _TABLES)
    sets: dict[bytes, int] = {}
    for patient, cohort in db.execute("SELECT patient, cohort FROM member_one"):
        sets[patient] = sets.get(patient, 0) | 1 << cohort
    for patient, bits in sorted(sets.items()):
        cohorts = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
        db.execute("INSERT OR IGNORE INTO exposure (cohorts) VALUES (?)", (cohorts,))
        db.execute(
            "INSERT INTO patient (key, exposure) SELECT ?, id FROM exposure WHERE cohorts = ?", (patient, cohorts)
        )
    rows = db.execute(
        "SELECT plan, cohort, study, study_hash, run, round, event, at FROM charge_one ORDER BY at, run, round, plan"
    ).fetchall()
    for *before, event, at in rows:
        db.execute(
            "INSERT INTO charge (plan, cohort, what, study, study_hash, run, round, event, at)"
            " VALUES (?, ?, 'train', ?, ?, ?, ?, ?, ?)",
            (*before, packed(_now(event)), at),
        )
    apply_statements(db, "DROP TABLE charge_one; DROP TABLE member_one;")


def _now(event: bytes) -> SampledGaussian:
    """What an event of format 1 is called today."""
    try:
        old = unpack(_EventOne, event)
    except PeerError:
        raise SiteError(
            "ledger of format 1", expected="its own events", got="another", do="Restore it from a backup."
        ) from None
    return SampledGaussian(
        sampling_rate=old.sampling_rate, noise_multiplier=old.noise_multiplier, steps=old.steps, honest=1
    )


MIGRATIONS = (Migration(1, _from_one),)
