"""Spending from elsewhere or from before: a list that people wrote, another copy of this ledger, a ledger whose key is
lost.

Guarantees: what is taken over is charged once, however often it is given; nothing is ever lowered by it. Where two
ledgers disagree about a plan, whoever was not charged for it here is charged, and what was charged differently counts
twice: rather too much than too little.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from client.ledger import store
from client.ledger.exposure import EVERYONE
from client.ledger.records import Purpose
from shared.accounting import Event
from shared.wire import digest


@dataclass(frozen=True)
class Spent:
    """One charge of the past, and when it was made (UTC, ISO 8601)."""

    event: Event
    purpose: Purpose
    at: str


@dataclass(frozen=True)
class Past:
    """What the same patients spent together; `patients` None is everyone, whoever comes later too."""

    patients: Sequence[bytes] | None
    spent: Sequence[Spent]


@dataclass(frozen=True)
class Taken:
    """How many charges were made, and how many were here already."""

    charged: int
    known: int


def enter(db: sqlite3.Connection, pasts: Iterable[Past]) -> Taken:
    """Charge `pasts`; the caller holds the transaction."""
    charged = known = 0
    for past in pasts:
        cohort = EVERYONE if past.patients is None else store.cohort_of(db, past.patients)
        for one in past.spent:
            new = _charge(db, cohort, past.patients, one)
            charged, known = charged + new, known + (not new)
    return Taken(charged, known)


def _charge(db: sqlite3.Connection, cohort: int, patients: Sequence[bytes] | None, one: Spent) -> bool:
    """Whether anything had to be charged."""
    before = store.charge_of(db, one.purpose.plan)
    if before is None:
        store.add_charge(db, cohort, one.event, one.purpose, at=one.at)
        return True
    if before.event != one.event:
        other = digest("konsil/ledger/other-event/v1", one.purpose.plan, store.packed(one.event))
        return _charge(db, cohort, patients, replace(one, purpose=replace(one.purpose, plan=other)))
    if before.cohort in (cohort, EVERYONE):
        return False
    missing = None if patients is None else sorted({*patients} - store.members(db, before.cohort))
    if missing == []:
        return False
    rest = EVERYONE if missing is None else store.cohort_of(db, missing)
    other = digest("konsil/ledger/other-patients/v1", one.purpose.plan, *(missing or ()))
    if store.charge_of(db, other) is not None:
        return False
    store.add_charge(db, rest, one.event, replace(one.purpose, plan=other), at=one.at)
    return True
