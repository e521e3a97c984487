"""The runs of this coordinator and what happened in each, on disk before the caller goes on.

Guarantees: a run's state moves only along `_FROM`; the run that was interrupted comes before any queued one; events are
stored as tagged JSON of a closed registry, so nothing stored names code. Of the many `StepProgress` only the last of a
round's step is kept. Any number of processes and threads may hold one history.

    history.enqueue("chest-01", study)
    history.start("chest-01")                                   # 1: the first start
    Diary(history, "chest-01").notice(RoundStarted(1))
"""

import logging
import math
import re
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from server.observer import (
    Event,
    RoundFinished,
    RoundStarted,
    RunFinished,
    RunStarted,
    SiteJoined,
    SiteLeft,
    StepProgress,
)
from shared.database import open_database, transaction
from shared.errors import InputError, KonsilError, OperatorError
from shared.study import Study, study_hash
from shared.wire import Record, read_json

State = Literal["queued", "running", "finished", "stopped", "failed", "cancelled"]
#: From which states a run may come into each; a stopped or failed one may be started again, by the operator only.
_FROM: dict[State, tuple[State, ...]] = {
    "queued": ("stopped", "failed"),
    "running": ("queued", "running", "stopped", "failed"),
    "finished": ("running",),
    "stopped": ("running",),
    "failed": ("queued", "running"),
    "cancelled": ("queued", "running"),
}
#: Every event there is, by the name it is stored under: names are added, never changed.
_KINDS: dict[str, type[Event]] = {
    "run_started": RunStarted,
    "site_joined": SiteJoined,
    "site_left": SiteLeft,
    "round_started": RoundStarted,
    "step_progress": StepProgress,
    "round_finished": RoundFinished,
    "run_finished": RunFinished,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
#: A run's name is a folder and part of an address: no dots, no slashes.
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_SCHEMA = """
CREATE TABLE run (
    number INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, study TEXT NOT NULL, study_hash TEXT NOT NULL,
    state TEXT NOT NULL, created TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL, because TEXT NOT NULL,
    starts INTEGER NOT NULL
);
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES run(run), at TEXT NOT NULL, step TEXT,
    event BLOB NOT NULL, UNIQUE (run, step)
)
"""
_COLUMNS = "run, study, study_hash, state, created, started, ended, because, starts"


class RunLine(Record, frozen=True):
    """One run. Times are ISO UTC, "" where not yet; `started` is the first start, `starts` how many there were."""

    run: str
    study: str
    #: hex
    study_hash: str
    state: State
    created: str
    started: str
    ended: str
    #: why it ended early; "" otherwise
    because: str
    starts: int


@dataclass(frozen=True)
class Moment:
    """One event of a run; `id` grows over all runs."""

    id: int
    at: str
    event: Event


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    event: msgspec.Raw


class History:
    """The history in the SQLite file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path, self._threads = path, threading.local()
        self._db.execute("SELECT 1")

    @property
    def _db(self) -> sqlite3.Connection:
        """This thread's own connection: SQLite's are not to be shared."""
        if not hasattr(self._threads, "db"):
            self._threads.db = open_database(self._path, _SCHEMA, version=1)
        found: sqlite3.Connection = self._threads.db
        return found

    def enqueue(self, run: str, study: Study) -> None:
        """`run` of `study` waits for its turn. Raises InputError if the run exists or its name is none."""
        if not _RUN.fullmatch(run):
            raise InputError(f"run {run!r}", expected="letters, digits and dashes, at most 128", got="another name")
        values = (run, study.name, study_hash(study).hex(), "queued", _now(), "", "", "", 0)
        with transaction(self._db) as db:
            if db.execute("SELECT 1 FROM run WHERE run = ?", (run,)).fetchone():
                raise InputError(f"run {run}", expected="a new name", got="one in the history", do="Choose another.")
            db.execute(f"INSERT INTO run ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608  ours

    def runs(self) -> tuple[RunLine, ...]:
        """Every run, the newest first."""
        return self._lines("ORDER BY number DESC")

    def run(self, run: str) -> RunLine:
        """One run. Raises InputError if it is unknown."""
        for line in self._lines("WHERE run = ?", run):
            return line
        raise InputError(f"run {run}", expected="a run of this coordinator", got="an unknown name", do="See the runs.")

    def next(self) -> RunLine | None:
        """What to run now: the running one (the coordinator was restarted), else the one that waits longest."""
        found = self._lines("WHERE state IN ('queued', 'running') ORDER BY state = 'running' DESC, number LIMIT 1")
        return found[0] if found else None

    def start(self, run: str) -> int:
        """The run is running, for the first time or again. Returns how often it was started, this time counted."""
        with transaction(self._db) as db:
            line = self._check(run, "running")
            values = (line.started or _now(), line.starts + 1, run)
            change = "state = 'running', started = ?, ended = '', because = '', starts = ?"
            db.execute(f"UPDATE run SET {change} WHERE run = ?", values)  # noqa: S608  ours
        return line.starts + 1

    def end(self, run: str, state: State, because: str) -> None:
        """The run is over. A run that was cancelled meanwhile stays so. Raises InputError if it was not running."""
        with transaction(self._db):
            if self.run(run).state != "cancelled":
                self._end(run, state, because)

    def requeue(self, run: str) -> None:
        """A stopped or failed run waits for its turn again. Raises InputError for any other."""
        with transaction(self._db) as db:
            self._check(run, "queued")
            db.execute("UPDATE run SET state = 'queued', ended = '', because = '' WHERE run = ?", (run,))

    def cancel(self, run: str) -> None:
        """The operator wants no more of it. Raises InputError if it is over."""
        with transaction(self._db):
            self._end(run, "cancelled", "cancelled by the operator")

    def record(self, run: str, event: Event) -> None:
        """Append `event`. Raises InputError if the run is unknown."""
        step = f"{event.round} {event.step}" if isinstance(event, StepProgress) else None
        with transaction(self._db) as db:
            self.run(run)
            values = (run, _now(), step, _encode(event))
            db.execute("INSERT OR REPLACE INTO event (run, at, step, event) VALUES (?, ?, ?, ?)", values)

    def events(self, run: str, after: int = 0) -> tuple[Moment, ...]:
        """The run's events with an id above `after`, in order. Raises OperatorError for one that cannot be read."""
        asked = "SELECT id, at, event FROM event WHERE run = ? AND id > ? ORDER BY id"
        return tuple(Moment(id_, at, _decode(data, id_)) for id_, at, data in self._db.execute(asked, (run, after)))

    def _lines(self, rest: str, *values: str) -> tuple[RunLine, ...]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM run {rest}", values)  # noqa: S608  ours
        return tuple(msgspec.convert(dict(zip(_COLUMNS.split(", "), row, strict=True)), RunLine) for row in rows)

    def _end(self, run: str, state: State, because: str) -> None:
        self._check(run, state)
        change = "UPDATE run SET state = ?, ended = ?, because = ? WHERE run = ?"
        self._db.execute(change, (state, _now(), because, run))

    def _check(self, run: str, to: State) -> RunLine:
        """The run, which may become `to`."""
        line = self.run(run)
        if line.state not in _FROM.get(to, ()):
            wanted = " or ".join(_FROM.get(to, ())) or f"one of {', '.join(get_args(State)[1:])}"
            raise InputError(f"run {run} to be {to}", expected=f"a {wanted} run", got=f"a {line.state} one")
        return line


class Diary:
    """An observer that writes every event of one run down. What cannot be written is logged: the run goes on."""

    def __init__(self, history: History, run: str) -> None:
        self._history, self._run = history, run

    def notice(self, event: Event) -> None:
        """Record `event`."""
        try:
            self._history.record(self._run, event)
        except (KonsilError, sqlite3.Error) as error:
            logging.getLogger(__name__).error("run %s: %s was not recorded: %s", self._run, _NAMES[type(event)], error)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _encode(event: Event) -> bytes:
    return msgspec.json.encode({"kind": _NAMES[type(event)], "event": event})


def _decode(data: bytes, id_: int) -> Event:
    try:
        stored = read_json(data, _Stored)
        plain = read_json(bytes(stored.event), dict[str, Any])
        if stored.kind == "round_finished":  # JSON has no infinity: an ε without a bound was written as null
            plain["epsilon"] = {site: math.inf if own is None else own for site, own in plain["epsilon"].items()}
        event: Event = msgspec.convert(plain, _KINDS[stored.kind])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise OperatorError(
            f"event {id_} of the history", expected="an event as Konsil writes it", got=str(error), do="Upgrade Konsil."
        ) from None
    return event
