"""The file itself: what it refuses, and how files of format 1 become files of today, killed or not."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from client.ledger import Ledger
from client.ledger.schema import VERSION
from shared.accounting import SampledGaussian
from shared.errors import SiteError
from tests.client.ledger.cases import DELTA, EVENT, WIDE, patients, purpose

#: A ledger that Konsil wrote when format 1 was today's.
FORMAT_ONE = """
CREATE TABLE cohort (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE member (
    cohort INTEGER NOT NULL REFERENCES cohort(id), patient BLOB NOT NULL, PRIMARY KEY (cohort, patient)
) WITHOUT ROWID;
CREATE TABLE charge (
    plan BLOB PRIMARY KEY, cohort INTEGER NOT NULL REFERENCES cohort(id),
    study TEXT NOT NULL, study_hash BLOB NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL,
    event BLOB NOT NULL, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) WITHOUT ROWID;
INSERT INTO cohort VALUES (1, X'43B286E333664FF8C1E5A659B338384CDF1E5613A1DD66BDF4CA67E09CB65C06');
INSERT INTO cohort VALUES (2, X'2C858EFEF2D32DDAA57B5D80850C6EAB9740FE7E078B6B0CED035E7ADA186AB0');
INSERT INTO cohort VALUES (3, X'E4BA3E51B693FA76534CF31BEBA4CB8FD84C87242BF365857C198E0D9E600F2C');
INSERT INTO member VALUES (1, X'{p1}'), (1, X'{p2}'), (1, X'{p3}');
INSERT INTO member VALUES (2, X'{p1}'), (2, X'{p2}'), (2, X'{p3}'), (2, X'{p4}');
INSERT INTO member VALUES (3, X'{p3}'), (3, X'{p4}'), (3, X'{p5}');
INSERT INTO charge VALUES (X'{p1}', 1, 's', X'{s}', 'r1', 0, X'{first}', '2026-11-21T18:27:48Z');
INSERT INTO charge VALUES (X'{p2}', 1, 's', X'{s}', 'r1', 1, X'{first}', '2026-11-21T18:27:48Z');
INSERT INTO charge VALUES (X'{p3}', 2, 's', X'{s}', 'r2', 0, X'{first}', '2026-11-21T18:27:48Z');
INSERT INTO charge VALUES (X'{p4}', 3, 't', X'{t}', 'q', 0, X'{second}', '2026-11-21T18:27:49Z');
INSERT INTO charge VALUES (X'{p5}', 3, 't', X'{t}', 'q', 1, X'{second}', '2026-11-21T18:27:49Z');
PRAGMA user_version = 1;
""".format(
    **{f"p{number}": f"{number:02x}" * 32 for number in range(1, 6)},
    s=b"s".ljust(32).hex(),
    t=b"t".ljust(32).hex(),
    first="84AD73616D706C696E675F72617465CB3FB999999999999AB06E6F6973655F6D756C7469706C696572CB3FF8000000000000"
    "A5737465707314A776657273696F6E01",
    second="84AD73616D706C696E675F72617465CB3FD0000000000000B06E6F6973655F6D756C7469706C696572CB4000000000000000"
    "A5737465707305A776657273696F6E01",
)
SECOND = SampledGaussian(sampling_rate=0.25, noise_multiplier=2.0, steps=5)
KILLED = 77


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "l.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(FORMAT_ONE)
    return tmp_path / "l.sqlite"


def check_brought_up(path: Path) -> None:
    ledger = Ledger(path)
    ledger.check()
    # as the version that wrote it said, but for the rounding of its accountant
    assert ledger.epsilon(DELTA) == pytest.approx(3.747672763503549, rel=1e-6)
    shown = [(line.run, line.what, line.rounds, line.patients) for line in ledger.lines(DELTA)]
    assert shown == [("r1", "train", 2, 3), ("r2", "train", 1, 4), ("q", "train", 2, 3)]
    assert [line.epsilon for line in ledger.lines(DELTA)] == pytest.approx(
        [2.586776992133062, 1.9628056504671452, 2.281656548196293], rel=1e-6
    )
    assert (ledger.events("r1"), ledger.events("q")) == ((EVENT, EVENT), (SECOND, SECOND))
    assert ledger.plans() == frozenset(bytes([number]) * 32 for number in range(1, 6))
    assert {line.first for line in ledger.lines(DELTA)} == {"2026-11-21T18:27:48Z", "2026-11-21T18:27:49Z"}
    ledger.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        members = db.execute("SELECT cohort, group_concat(hex(substr(patient, 1, 1))) FROM member GROUP BY cohort")
        whom = {cohort: sorted(names.split(",")) for cohort, names in members}
        assert whom == {1: ["01", "02", "03"], 2: ["01", "02", "03", "04"], 3: ["03", "04", "05"]}


def test_a_ledger_of_format_1_is_brought_up(old: Path) -> None:
    check_brought_up(old)
    check_brought_up(old)


def test_the_very_same_cohort_is_found_again(old: Path) -> None:
    ledger = Ledger(old)
    again = [bytes([number]) * 32 for number in (3, 2, 1)]
    ledger.reserve(again, EVENT, purpose(0, plan=b"\x01" * 32), WIDE)  # that plan, those patients: nothing new
    assert ledger.statement(DELTA).charges == 5


def test_killed_at_any_statement_it_is_brought_up_by_the_next(old: Path) -> None:
    statements = 0
    while brought_up_until(old, statements) == KILLED:
        with closing(sqlite3.connect(old)) as db:  # the dead one left the old file or the new one, whole
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("SELECT count(*) FROM charge").fetchone() == (5,)
        statements += 1
    assert statements > 30, "every statement was tried"
    check_brought_up(old)


def brought_up_until(path: Path, statements: int) -> int:
    """Exit status of a process that opens the ledger and dies before statement number `statements`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        left, real = [statements], sqlite3.connect

        def connect(*args: object, **kwargs: object) -> sqlite3.Connection:
            connection: sqlite3.Connection = real(*args, **kwargs)  # type: ignore[call-overload]
            connection.set_trace_callback(count)
            return connection

        def count(_statement: str) -> None:
            if left[0] == 0:
                os._exit(KILLED)
            left[0] -= 1

        sqlite3.connect = connect  # type: ignore[assignment]
        Ledger(path)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("wrong", [b"\xc1", b"\x80", b"\x84\xa5steps\x01"])
def test_an_old_event_that_is_none_is_refused_and_left(old: Path, wrong: bytes) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        db.execute("UPDATE charge SET event = ? WHERE round = 1", (wrong,))
    with pytest.raises(SiteError, match="Restore it from a backup"):
        Ledger(old)
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "l.sqlite", isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(SiteError, match="Upgrade Konsil here"):
        Ledger(tmp_path / "l.sqlite")


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(SiteError, match="Restore it from a backup"):
        Ledger(tmp_path / "l.sqlite")


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path)
    for round_ in range(200):
        ledger.reserve(patients(0, 3), EVENT, purpose(round_), WIDE)
    ledger.close()
    data = bytearray(path.read_bytes())
    for place in range(8192, len(data)):
        data[place] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(SiteError):
        Ledger(path).check()
    with pytest.raises(SiteError):
        Ledger(path).reserve(patients(0, 3), EVENT, purpose(201), WIDE)


def test_an_event_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).reserve(patients(0, 3), EVENT, purpose(0), WIDE)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER charge_stays")
        db.execute("UPDATE charge SET event = ?", (b"\x81\xa5event\x81\xa4type\xa5laser",))
    with pytest.raises(SiteError, match="an event of this version"):
        Ledger(path).epsilon(DELTA)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM charge",
        "UPDATE charge SET round = 7",
        "UPDATE charge SET event = x''",
        "DELETE FROM patient",
        "INSERT OR REPLACE INTO charge SELECT number, plan, 0, what, study, x'', run, round, x'', at FROM charge",
    ],
)
def test_the_file_refuses_a_refund(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).reserve(patients(0, 3), EVENT, purpose(0), WIDE)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA recursive_triggers = ON")
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(statement)
