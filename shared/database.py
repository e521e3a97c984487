"""SQLite the way Konsil needs it: what is committed is on disk, whoever is killed when.

A file has a format, a number from 1. One of an earlier format is brought up to date by the caller's migrations, all of
them in one transaction: killed at any statement, the file is the old one, whole. One of a later format is refused.

    open_database(path, SCHEMA, version=2, migrations=(Migration(1, "ALTER TABLE run ADD COLUMN at TEXT"),))
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SiteError
from shared.files import open_as_owner

_RESTORE = "Restore it from a backup."


@dataclass(frozen=True)
class Migration:
    """Brings a file of format `start` to `start` + 1: SQL statements, or a function of the connection, which stands in
    a transaction and must not end it."""

    start: int
    apply: str | Callable[[sqlite3.Connection], None]


def open_database(path: Path, schema: str, *, version: int, migrations: Sequence[Migration] = ()) -> sqlite3.Connection:
    """The database at `path` (mode 0600), with `schema` applied if it is new, and `migrations` if it is older.

    WAL and synchronous=FULL: a committed transaction survives a power cut. Raises SiteError if the file is of a
    later version, of an earlier one that no migration leads on from, or is no database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: switching to WAL does not wait. The gate is a file of its own, because closing any
        # handle of the database itself drops the locks SQLite holds on it in this process (sqlite.org/howtocorrupt).
        with os.fdopen(open_as_owner(path.with_name(path.name + ".lock"), os.O_WRONLY), "wb") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if not path.exists():
                os.close(open_as_owner(path, os.O_RDWR))
            return _open(path, schema, version, {step.start: step for step in migrations})
    except (OSError, sqlite3.DatabaseError) as error:
        raise SiteError(f"database {path.name}", expected="a Konsil database", got=str(error), do=_RESTORE) from None


def _open(path: Path, schema: str, version: int, migrations: dict[int, Migration]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > version or (found and any(start not in migrations for start in range(found, version))):
            do = "Upgrade Konsil here." if found > version else "Open it once with the version of Konsil before."
            raise SiteError(f"database {path.name}", expected=f"format {version}", got=f"format {found}", do=do)
        if found != version:
            with transaction(connection) as db:
                _bring_up(db, schema, found, version, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up(db: sqlite3.Connection, schema: str, found: int, version: int, migrations: dict[int, Migration]) -> None:
    """From format `found`, 0 for a new file, to `version`; the caller holds the transaction."""
    for step in [migrations[start].apply for start in range(found, version)] if found else [schema]:
        if callable(step):
            step(db)
        else:
            apply_statements(db, step)
    db.execute(f"PRAGMA user_version={version}")


def apply_statements(db: sqlite3.Connection, text: str) -> None:
    """Execute the statements of `text`, triggers among them, inside the transaction that stands (`executescript` would
    end it)."""
    statement = ""
    for part in text.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
    if statement.strip("; \n"):
        db.execute(statement)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of the block, committed to disk, or nothing of it. Writers wait for each other."""
    yield from _bounded(connection, "BEGIN IMMEDIATE", "writing")


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One state of the database for the whole block, whoever writes meanwhile."""
    yield from _bounded(connection, "BEGIN", "reading")


def _bounded(connection: sqlite3.Connection, begin: str, doing: str) -> Iterator[sqlite3.Connection]:
    try:
        connection.execute(begin)
        yield connection
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        _roll_back(connection)
        raise SiteError(f"{doing} a database", expected="free space and permission", got=str(error)) from None
    except BaseException as error:
        _roll_back(connection)
        if type(error) is sqlite3.DatabaseError:  # SQLITE_CORRUPT and SQLITE_NOTADB; what derives from it is a caller's
            raise SiteError(f"{doing} a database", expected="a whole file", got=str(error), do=_RESTORE) from None
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
