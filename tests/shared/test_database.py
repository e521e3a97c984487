import os
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from shared.database import Migration, apply_statements, open_database, reading, transaction
from shared.errors import SiteError

SCHEMA = "CREATE TABLE one (x INTEGER); CREATE TABLE two (y INTEGER)"
SCHEMA_THREE = "CREATE TABLE one (x INTEGER, z TEXT); CREATE TABLE three (y INTEGER)"


def rename(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE two RENAME TO three")
    db.execute("INSERT INTO three SELECT count(*) FROM one")


MIGRATIONS = (Migration(2, rename), Migration(1, "ALTER TABLE one ADD COLUMN z TEXT; UPDATE one SET z = 'a;b';"))
KILLED = 77


def add(path: Path) -> None:
    database = open_database(path, SCHEMA, version=1)
    with transaction(database):
        database.execute("INSERT INTO one VALUES (1)")
    database.close()


def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        for trial in range(8):
            list(pool.map(add, [tmp_path / f"{trial}.sqlite"] * 4))
    for trial in range(8):
        database = open_database(tmp_path / f"{trial}.sqlite", SCHEMA, version=1)
        assert database.execute("SELECT count(*) FROM one").fetchone() == (4,)
        database.close()


def test_all_or_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", SCHEMA, version=1)
    with pytest.raises(ZeroDivisionError), transaction(database):
        database.execute("INSERT INTO one VALUES (1)")
        raise ZeroDivisionError
    assert database.execute("SELECT count(*) FROM one").fetchone() == (0,)
    database.close()


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    open_database(tmp_path / "a.sqlite", SCHEMA, version=2).close()
    with pytest.raises(SiteError, match="Upgrade Konsil here"):
        open_database(tmp_path / "a.sqlite", SCHEMA, version=1)
    assert (tmp_path / "a.sqlite").stat().st_mode & 0o077 == 0


def migrated(path: Path) -> list[object]:
    with closing(open_database(path, SCHEMA_THREE, version=3, migrations=MIGRATIONS)) as database:
        found = database.execute("SELECT * FROM one"), database.execute("SELECT * FROM three")
        return [*(rows.fetchall() for rows in found), *database.execute("PRAGMA user_version").fetchone()]


def test_an_earlier_format_is_brought_up_step_by_step(tmp_path: Path) -> None:
    add(tmp_path / "a.sqlite")
    for _ in range(2):
        assert migrated(tmp_path / "a.sqlite") == [[(1, "a;b")], [(1,)], 3]
    assert migrated(tmp_path / "new.sqlite") == [[], [], 3], "a new file has no past"


@pytest.mark.parametrize("migrations", [(), MIGRATIONS[:1]])
def test_an_earlier_format_without_a_way_on_is_refused(tmp_path: Path, migrations: tuple[Migration, ...]) -> None:
    add(tmp_path / "a.sqlite")
    with pytest.raises(SiteError, match="expected format 3, got format 1"):
        open_database(tmp_path / "a.sqlite", SCHEMA_THREE, version=3, migrations=migrations)
    assert migrated(tmp_path / "a.sqlite")[2] == 3, "and nothing was changed"


def test_a_migration_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    add(tmp_path / "a.sqlite")
    wrong = (MIGRATIONS[1], Migration(2, "CREATE TABLE four (x); INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(SiteError):
        open_database(tmp_path / "a.sqlite", SCHEMA_THREE, version=3, migrations=wrong)
    assert migrated(tmp_path / "a.sqlite") == [[(1, "a;b")], [(1,)], 3]


def test_killed_at_any_statement_of_a_migration(tmp_path: Path) -> None:
    path, statements = tmp_path / "a.sqlite", 0
    add(path)
    while killed_at(path, statements) == KILLED:
        statements += 1
    assert statements >= 10
    assert migrated(path) == [[(1, "a;b")], [(1,)], 3]


def killed_at(path: Path, statements: int) -> int:
    """Exit status of a process that opens `path` and dies before statement number `statements`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        left, real = [statements], sqlite3.connect

        def count(_statement: str) -> None:
            if left[0] == 0:
                os._exit(KILLED)
            left[0] -= 1

        def connect(*args: object, **kwargs: object) -> sqlite3.Connection:
            connection: sqlite3.Connection = real(*args, **kwargs)  # type: ignore[call-overload]
            connection.set_trace_callback(count)
            return connection

        sqlite3.connect = connect  # type: ignore[assignment]
        open_database(path, SCHEMA_THREE, version=3, migrations=MIGRATIONS).close()
        os._exit(0)
    finally:
        os._exit(1)


def test_statements_are_split_where_they_end(tmp_path: Path) -> None:
    database = open_database(tmp_path / "a.sqlite", SCHEMA, version=1)
    with transaction(database):
        apply_statements(
            database,
            "CREATE TRIGGER t AFTER INSERT ON one BEGIN INSERT INTO two VALUES (1); INSERT INTO two VALUES (2); END;"
            " INSERT INTO one VALUES (7)",
        )
    assert database.execute("SELECT y FROM two").fetchall() == [(1,), (2,)]
    database.close()


def test_reading_sees_one_state(tmp_path: Path) -> None:
    first, second = (open_database(tmp_path / "a.sqlite", SCHEMA, version=1) for _ in range(2))
    with reading(first):
        assert first.execute("SELECT count(*) FROM one").fetchone() == (0,)
        with transaction(second):
            second.execute("INSERT INTO one VALUES (1)")
        assert first.execute("SELECT count(*) FROM one").fetchone() == (0,)
    assert first.execute("SELECT count(*) FROM one").fetchone() == (1,)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    database = open_database(path, SCHEMA, version=1)
    with transaction(database):
        database.executemany("INSERT INTO one VALUES (?)", ((number,) for number in range(5000)))
    database.close()
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    database = open_database(path, SCHEMA, version=1)
    with pytest.raises(SiteError, match="Restore it from a backup"), reading(database):
        database.execute("SELECT sum(x) FROM one").fetchone()
    assert not database.in_transaction
