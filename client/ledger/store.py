"""The ledger's rows: who is in which cohort, and what was charged. Statements only; the caller holds a transaction."""

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from client.ledger.exposure import Exposures, with_cohort
from client.ledger.records import HASH_BYTES, Purpose
from shared.accounting import Event
from shared.errors import MisuseError, PeerError, SiteError
from shared.wire import Record, pack, unpack


class _Stored(Record, frozen=True):
    """An event of either kind, by its tag."""

    event: Event


@dataclass(frozen=True)
class Charge:
    """One row of `charge`; `number` counts them from 1 in the order in which they were committed."""

    number: int
    cohort: int
    event: Event
    purpose: Purpose
    at: str


def packed(event: Event) -> bytes:
    """`event` as it is stored."""
    return pack(_Stored(event=event))


_CHARGE = "SELECT number, cohort, event, at, plan, study, study_hash, run, round, what FROM charge"


def charges(db: sqlite3.Connection, *, after: int = 0) -> Iterator[Charge]:
    """The charges with a number above `after`, in order. Raises SiteError for one that this ledger did not write."""
    for row in db.execute(f"{_CHARGE} WHERE number > ? ORDER BY number", (after,)):
        yield _charge(row)


def charge_of(db: sqlite3.Connection, plan: bytes) -> Charge | None:
    """The charge of `plan`, or None if it was not charged. Raises SiteError as `charges`."""
    row = db.execute(f"{_CHARGE} WHERE plan = ?", (plan,)).fetchone()
    return None if row is None else _charge(row)


def charges_of(db: sqlite3.Connection, run: str) -> Iterator[Charge]:
    """The charges of `run`. Raises SiteError as `charges`."""
    for row in db.execute(f"{_CHARGE} WHERE run = ?", (run,)):
        yield _charge(row)


def _charge(row: tuple[Any, ...]) -> Charge:
    number, cohort, event, at, *purpose = row
    return Charge(number, cohort, _event(event, number), Purpose(*purpose), at)


def _event(data: bytes, number: int) -> Event:
    try:
        return unpack(_Stored, data).event
    except (PeerError, TypeError):
        raise SiteError(
            f"ledger charge {number}",
            expected="an event of this version of Konsil or an earlier one",
            got="another",
            do="Upgrade Konsil here, or restore the ledger from a backup.",
        ) from None


def add_charge(db: sqlite3.Connection, cohort: int, event: Event, purpose: Purpose, *, at: str | None = None) -> None:
    """Charge `event` to `cohort`, now or at the time `at` (UTC, ISO 8601)."""
    columns, values = "plan, cohort, what, study, study_hash, run, round, event", "?, ?, ?, ?, ?, ?, ?, ?"
    row = (purpose.plan, cohort, purpose.what, purpose.study, purpose.study_hash, purpose.run, purpose.round)
    if at is None:
        db.execute(f"INSERT INTO charge ({columns}) VALUES ({values})", (*row, packed(event)))  # noqa: S608  our own
    else:
        db.execute(f"INSERT INTO charge ({columns}, at) VALUES ({values}, ?)", (*row, packed(event), at))  # noqa: S608


def exposures(db: sqlite3.Connection) -> Exposures:
    """The distinct sets of cohorts that patients are in."""
    return Exposures.of(db.execute("SELECT id, cohorts FROM exposure ORDER BY id").fetchall())


def sizes(db: sqlite3.Connection) -> dict[int, int]:
    """How many patients are in each set, by its id."""
    return dict(db.execute("SELECT exposure, count(*) FROM patient GROUP BY exposure"))


def last_cohort(db: sqlite3.Connection) -> int:
    """The newest cohort: while it is the same, everybody is in the same cohorts as before."""
    return int(db.execute("SELECT max(id) FROM cohort").fetchone()[0])


def members(db: sqlite3.Connection, cohort: int) -> set[bytes]:
    """The patients of `cohort`, which is not that of everyone."""
    sets, found = exposures(db), set[bytes]()
    for row in sets.ids[sets.has(cohort)]:
        found.update(key for (key,) in db.execute("SELECT key FROM patient WHERE exposure = ?", (int(row),)))
    return found


def cohort_of(db: sqlite3.Connection, patients: Sequence[bytes]) -> int:
    """The cohort of exactly `patients`, made if they were never charged together. Takes a microsecond per patient, and
    several for each that it has to put into a new cohort. Raises MisuseError for a key that is not 32 bytes long."""
    chosen = sorted(set(patients))
    if any(len(patient) != HASH_BYTES for patient in chosen):
        raise MisuseError("patients", expected=f"keyed hashes of {HASH_BYTES} bytes", got="others")
    digest = hashlib.sha256(b"konsil/cohort/v1" + b"".join(chosen)).digest()
    row = db.execute("SELECT id FROM cohort WHERE digest = ?", (digest,)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO cohort (digest) VALUES (?) RETURNING id", (digest,)).fetchone()
        _enter(db, int(row[0]), chosen)
    return int(row[0])


def _enter(db: sqlite3.Connection, cohort: int, chosen: Sequence[bytes]) -> None:
    """Put the patients `chosen` into the new `cohort`: from each set of cohorts into that set and this cohort.

    A set all of whose patients enter becomes the new one as it is: where the archive only grows, that is every set.
    """
    entering, staying = set(chosen), Counter[int]()
    moving: defaultdict[int, list[int]] = defaultdict(list)
    for patient, key, exposure in db.execute("SELECT id, key, exposure FROM patient"):
        if key in entering:
            moving[exposure].append(patient)
            entering.discard(key)
        else:
            staying[exposure] += 1
    bits = dict(db.execute("SELECT id, cohorts FROM exposure"))
    for exposure, some in moving.items():
        after = with_cohort(bits[exposure], cohort)
        if staying[exposure] == 0:
            db.execute("UPDATE exposure SET cohorts = ? WHERE id = ?", (after, exposure))
        else:
            row = _exposure(db, after)
            db.executemany("UPDATE patient SET exposure = ? WHERE id = ?", ((row, patient) for patient in some))
    if entering:
        row = _exposure(db, with_cohort(b"", cohort))
        unknown = ((key, row) for key in chosen if key in entering)
        db.executemany("INSERT INTO patient (key, exposure) VALUES (?, ?)", unknown)


def _exposure(db: sqlite3.Connection, cohorts: bytes) -> int:
    """The row of a set that holds a cohort just made, so that nobody was in it before."""
    row = db.execute("INSERT INTO exposure (cohorts) VALUES (?) RETURNING id", (cohorts,)).fetchone()
    return int(row[0])


def adopt(db: sqlite3.Connection, tag: bytes) -> None:
    """This ledger names patients under the archive key of `tag`. Raises SiteError if it does under another."""
    row = db.execute("SELECT tag FROM archive").fetchone()
    if row is None:
        db.execute("INSERT INTO archive (tag) VALUES (?)", (tag,))
    elif row[0] != tag:
        raise SiteError(
            "ledger",
            expected="one whose patients are named under keys/archive.key as it is now",
            got="one of another key",
            do="Put the key back that it was made with. If that is lost: move the ledger aside, and take over what it"
            " holds for everyone, with konsil-client ledger import OLD --everyone.",
        )


def check(db: sqlite3.Connection) -> None:
    """Raise SiteError unless the file is whole, and every charge, patient and set in it can be read."""
    found = [*db.execute("PRAGMA integrity_check"), *db.execute("PRAGMA foreign_key_check")]
    if found != [("ok",)]:
        raise SiteError(
            "ledger", expected="a whole file", got=f"{len(found)} faults in it", do="Restore it from a backup."
        )
    for _ in charges(db):
        pass
    exposures(db)
