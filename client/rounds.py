"""Durable round state: what this site joined, which plans it answered, and with which bytes.

Rules (PROTOCOL.md):
1. A plan answered before gets the same stored bytes again and nothing else.
2. A new plan's attempt is higher than every earlier one of its run.
3. One survivor set per plan, ever: what was confirmed or unmasked for one is not for another; asked again about the
   same set, the same stored bytes.
4. Everything is on disk before it is sent; a round's secrets go once it is unmasked or a newer plan of its run is
   answered, its tombstone stays.
5. A run key goes when its run was not used for a while (`forget`); that run is then over for this site, for good.
6. What two sums of a run may not differ in: client/differences.py.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.differences import ANYTHING, SAID, Said, Topic, check_said, check_survivors, last_counted, note_said
from shared.crypto.roster import Roster
from shared.crypto.secret import SecretRecord
from shared.database import open_database, transaction
from shared.errors import PeerError
from shared.messages.requests import Join
from shared.secagg.joining import JoinRecord, RunKey
from shared.secagg.member import RoundState
from shared.study import Study
from shared.wire import pack, unpack

_SCHEMA = """
CREATE TABLE run (run TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE plan (
    plan BLOB PRIMARY KEY, run TEXT NOT NULL REFERENCES run(run), round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    reply BLOB, secrets BLOB, settled TEXT, confirmation BLOB, answer BLOB, topic TEXT NOT NULL, payload BLOB NOT NULL,
    survivors TEXT, UNIQUE (run, attempt)
)
"""
#: Unix seconds at which each run was last used. A table of its own: files made before it grow it.
_USED = "CREATE TABLE IF NOT EXISTS used (run TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID"
#: All that a plan's row holds but its tombstone goes.
_EMPTY = "UPDATE plan SET reply = NULL, confirmation = NULL, answer = NULL, secrets = NULL"
#: The state of a run whose key is gone.
_FORGOTTEN = b""


class RunState(SecretRecord, frozen=True):
    """What this site agreed to: the join message, its own run key, and the record it answered with."""

    join: Join
    key: RunKey
    record: JoinRecord

    @property
    def roster(self) -> Roster:
        """The one it was joined with: checked then (client/agreement.py)."""
        return unpack(Roster, self.join.roster.roster)

    @property
    def operator(self) -> bytes:
        """Who speaks for the coordinator in this run."""
        return self.roster.operator


@dataclass(frozen=True)
class Asked:
    """A stored confirmation or unmask answer, or the secrets to make one; the run and round it belongs to."""

    stored: bytes | None
    secrets: RoundState | None
    run: str
    round: int

    def need(self) -> RoundState:
        """The secrets. Raises PeerError where they are gone and nothing is stored."""
        if self.secrets is None:
            raise PeerError("request", expected="the newest plan of its run", got="one that a later plan has replaced")
        return self.secrets


class Rounds:
    """The site's memory of runs and plans, in one SQLite file shared by any number of processes."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA, version=3)
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.execute(SAID)
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'used'").fetchone() is None:
            with transaction(self._db) as db:
                db.execute(_USED)
                db.execute("INSERT OR IGNORE INTO used SELECT run, ? FROM run", (int(time.time()),))

    def run(self, run: str) -> RunState | None:
        """What was agreed for `run`, or None if this site has not joined it. Raises PeerError if it was forgotten."""
        row = self._db.execute("SELECT state FROM run WHERE run = ?", (run,)).fetchone()
        if row is not None and row[0] == _FORGOTTEN:
            raise PeerError(
                "run", expected="one in use", got="one whose key this site has deleted", do="Start a new run."
            )
        return unpack(RunState, row[0]) if row else None

    def joined(self, run: str) -> RunState:
        """What was agreed for `run`. Raises PeerError if this site has not joined it."""
        state = self.run(run)
        if state is None:
            raise PeerError("plan", expected="a run this site has joined", got="another", do="Send the study first.")
        return state

    def studies(self) -> tuple[Study, ...]:
        """Those of the runs that this site has joined and not forgotten."""
        rows = self._db.execute("SELECT state FROM run WHERE state != X''")
        return tuple(unpack(RunState, state).join.study for (state,) in rows)

    def join(self, state: RunState, *, instead_of: RunState | None = None) -> RunState:
        """Store `state` unless this run was joined before, other than by `instead_of`; returns the one that stands."""
        run = state.join.run
        with transaction(self._db) as db:
            db.execute("INSERT INTO run VALUES (?, ?) ON CONFLICT DO NOTHING", (run, pack(state)))
            if instead_of is not None:
                db.execute("UPDATE run SET state = ? WHERE run = ? AND state = ?", (pack(state), run, pack(instead_of)))
            _touch(db, run)
        found = self.run(run)
        return found if found is not None else state

    def reply(self, plan: bytes) -> bytes | None:
        """The bytes this plan was answered with; None if it is new. Raises PeerError once they are gone."""
        row = self._db.execute("SELECT reply FROM plan WHERE plan = ?", (plan,)).fetchone()
        if row is None:
            return None
        if row[0] is None:
            raise PeerError("plan", expected="the newest plan of its run", got="one that a later plan has replaced")
        return bytes(row[0])

    def check_newer(self, run: str, round_: int, attempt: int) -> None:
        """Raise PeerError unless (round, attempt) follows everything this run has asked before."""
        row = self._db.execute("SELECT max(attempt), max(round) FROM plan WHERE run = ?", (run,)).fetchone()
        last, last_round = row if row[0] is not None else (-1, -1)
        if attempt <= last or round_ < last_round:
            raise PeerError(
                "plan", expected=f"an attempt after {last}, round {last_round} or later", got=f"{attempt}, {round_}"
            )

    def check_said(self, run: str, round_: int, said: Said) -> None:
        """Raise PeerError where what is `said` in a training of `round_` would tell one hospital's part."""
        check_said(self._db, run, round_, said)

    def last_counted(self, run: str, site: str) -> int:
        """The last round whose sum holds the update of `site`, as far as is known here; 0 for none."""
        return last_counted(self._db, run, site)

    def store(
        self,
        plan: bytes,
        run: str,
        round_: int,
        attempt: int,
        *,
        reply: bytes,
        secrets: RoundState | None,
        topic: Topic = ANYTHING,
        said: Said | None = None,
    ) -> bytes:
        """Keep `reply`, the round's secrets (None of a step without masks) and what was `said` in the task; returns the
        reply that stands if another process was first.

        The secrets of the run's older plans go: the coordinator asks for a new plan only when it has given up on the
        last one. Raises PeerError, and keeps nothing, if another process answered a later plan of the run meanwhile.
        """
        with transaction(self._db) as db:
            if db.execute("SELECT 1 FROM plan WHERE plan = ?", (plan,)).fetchone() is None:
                self.check_newer(run, round_, attempt)  # another process may have answered a newer plan meanwhile
                if said is not None:
                    check_said(db, run, round_, said)
                    note_said(db, run, round_, said)
                db.execute(
                    "INSERT INTO plan (plan, run, round, attempt, reply, secrets, topic, payload)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (plan, run, round_, attempt, reply, secrets and pack(secrets), topic.name, topic.payload),
                )
                db.execute(
                    f"{_EMPTY} WHERE run = ? AND attempt < ?",
                    (run, attempt),
                )
                _touch(db, run)
        self._wipe_log()
        stands = self.reply(plan)
        return stands if stands is not None else reply

    def confirmation(self, plan: bytes, survivors: Sequence[str]) -> Asked:
        """What to confirm `survivors` with. Raises PeerError for an unknown plan, or after other survivors (rule 3)."""
        return self._asked(plan, survivors, "confirmation")

    def answer(self, plan: bytes, survivors: Sequence[str]) -> Asked:
        """What to unmask `survivors` with. Raises PeerError for an unknown plan, or after other survivors (rule 3)."""
        return self._asked(plan, survivors, "answer")

    def confirm(self, plan: bytes, survivors: Sequence[str], confirmation: bytes) -> bytes:
        """Keep `survivors` as the ones of this plan, and the `confirmation`; returns the confirmation that stands.

        Raises PeerError if another process settled others or answered a later plan meanwhile, or by rule 6.
        """
        over = _encoded(survivors)
        with transaction(self._db) as db:
            check_survivors(db, plan, over)
            db.execute(
                "UPDATE plan SET settled = ?, confirmation = ?"
                " WHERE plan = ? AND coalesce(settled, ?) = ? AND confirmation IS NULL AND secrets IS NOT NULL",
                (over, confirmation, plan, over, over),
            )
        return self._stands(self.confirmation(plan, survivors))

    def close(self, plan: bytes, survivors: Sequence[str], answer: bytes) -> bytes:
        """Keep `answer`, forget the round's secrets, leave the tombstone; returns the answer that stands.

        Raises PeerError if another process settled other survivors or answered a later plan of the run meanwhile, or if
        a sum of this topic was opened over other survivors (rule 6).
        """
        over = _encoded(survivors)
        with transaction(self._db) as db:
            check_survivors(db, plan, over)
            db.execute(
                "UPDATE plan SET settled = ?, answer = ?, survivors = ?, secrets = NULL"
                " WHERE plan = ? AND coalesce(settled, ?) = ? AND answer IS NULL AND secrets IS NOT NULL",
                (over, answer, over, plan, over, over),
            )
        self._wipe_log()
        return self._stands(self.answer(plan, survivors))

    def opened_over(self, run: str, topic: Topic) -> tuple[str, ...]:
        """Whose parts the last sum of `topic` holds that this site helped to open; nobody's where there is none."""
        row = self._db.execute(
            "SELECT survivors FROM plan WHERE run = ? AND topic = ? AND payload = ? AND survivors IS NOT NULL"
            " ORDER BY attempt DESC",
            (run, topic.name, topic.payload),
        ).fetchone()
        return tuple(json.loads(row[0])) if row is not None else ()

    def _asked(self, plan: bytes, survivors: Sequence[str], column: Literal["confirmation", "answer"]) -> Asked:
        row = self._db.execute(
            f"SELECT run, round, secrets, settled, {column} FROM plan WHERE plan = ?",  # noqa: S608
            (plan,),
        ).fetchone()
        if row is None:
            raise PeerError("request", expected="a plan this site contributed to", got="another")
        run, round_, secrets, settled, stored = row
        if settled is not None and settled != _encoded(survivors):
            raise PeerError("survivors", expected="the ones this site settled on for the plan", got="others")
        return Asked(stored and bytes(stored), secrets and unpack(RoundState, secrets), run, round_)

    def _stands(self, asked: Asked) -> bytes:
        if asked.stored is None:
            asked.need()
            raise PeerError("request", expected="the survivors settled before", got="others")
        return asked.stored

    def forget(self, older_than_s: float) -> int:
        """Delete the keys, secrets and replies of every run not used for so long; returns how many runs.

        Their tombstones stay: such a run can neither go on nor be joined anew under its name.
        """
        unused = "(SELECT run FROM used WHERE at < ?)"
        before = (int(time.time() - older_than_s),)
        with transaction(self._db) as db:
            db.execute(f"{_EMPTY} WHERE run IN {unused}", before)
            count = db.execute(
                f"UPDATE run SET state = X'' WHERE state != X'' AND run IN {unused}",  # noqa: S608
                before,
            ).rowcount
        if count:
            self._wipe_log()
        return count

    def _wipe_log(self) -> None:
        """Empty SQLite's write-ahead log, which still holds the deleted secrets; a reader elsewhere may put it off."""
        with suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA busy_timeout=0")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._db.execute("PRAGMA busy_timeout=60000")


def _encoded(survivors: Sequence[str]) -> str:
    return json.dumps(sorted(survivors))


def _touch(db: sqlite3.Connection, run: str) -> None:
    db.execute("INSERT OR REPLACE INTO used VALUES (?, ?)", (run, int(time.time())))
