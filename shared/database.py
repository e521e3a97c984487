"""SQLite the way Konsil needs it: what is committed is on disk, whoever is killed when."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import SiteError
from shared.files import open_as_owner


def open_database(path: Path, schema: str, *, version: int) -> sqlite3.Connection:
    """The database at `path` (mode 0600), with `schema` applied if it is new.

    WAL and synchronous=FULL: a committed transaction survives a power cut. Raises SiteError if the file is of a
    later version or is no database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: switching to WAL does not wait. The gate is a file of its own, because closing any
        # handle of the database itself drops the locks SQLite holds on it in this process (sqlite.org/howtocorrupt).
        with os.fdopen(open_as_owner(path.with_name(path.name + ".lock"), os.O_WRONLY), "wb") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if not path.exists():
                os.close(open_as_owner(path, os.O_RDWR))
            connection, found = _open(path, schema, version)
    except (OSError, sqlite3.DatabaseError) as error:
        raise SiteError(
            f"database {path.name}", expected="a Konsil database", got=str(error), do="Restore it from a backup."
        ) from None
    if found != version:
        connection.close()
        raise SiteError(
            f"database {path.name}", expected=f"format {version}", got=f"format {found}", do="Upgrade Konsil here."
        )
    return connection


def _open(path: Path, schema: str, version: int) -> tuple[sqlite3.Connection, int]:
    """The connection and the format found; `schema` is applied to a file without one."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found == 0:
        with transaction(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version}")
        found = version
    return connection, found


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of the block, committed to disk, or nothing of it. Writers wait for each other."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        _roll_back(connection)
        raise SiteError("writing a database", expected="free space and permission", got=str(error)) from None
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
