"""The catalog: what was found in each file of an archive, so that only changed files are read again.

An SQLite database. Guarantees: no name, patient id, accession number, UID or path in clear (client/dicom/keys.py);
entries are committed in batches, so a scan that was killed goes on where it stopped. WAL with synchronous=NORMAL,
not FULL as for the ledger: after a power cut the last batches may be missing, never half there, and
the next scan reads those files again; nothing is promised on the strength of a catalog.
"""

import contextlib
import hashlib
import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from client.dicom.reasons import Reason
from shared.errors import SiteError

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One file. Bytes are keyed hashes, empty where the object has no such value; `fault` is "" or the Reason why
    the file itself can never be used; `orphan`: no patient id, the study stands for the patient."""

    file: bytes
    size: int
    mtime_ns: int
    inode: int
    fault: str = ""
    sop: bytes = b""
    series: bytes = b""
    study: bytes = b""
    accession: bytes = b""
    bare_patient: bytes = b""
    patient: bytes = b""
    orphan: bool = False
    modality: str = ""
    manufacturer: str = ""
    sex: str = ""
    age: str = ""
    intent: str = ""
    series_number: str = ""
    transfer_syntax: str = ""
    photometric: str = ""
    rows: int = 0
    columns: int = 0
    bits_stored: int = 0

    @property
    def stamp(self) -> tuple[int, int, int]:
        """Size, time of change, inode: while they stay, the file is not read again."""
        return self.size, self.mtime_ns, self.inode


#: The columns of `entry` are the fields of Entry, in order.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
  file BLOB NOT NULL PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
  fault TEXT NOT NULL, sop BLOB NOT NULL, series BLOB NOT NULL, study BLOB NOT NULL, accession BLOB NOT NULL,
  bare_patient BLOB NOT NULL, patient BLOB NOT NULL, orphan INTEGER NOT NULL, modality TEXT NOT NULL,
  manufacturer TEXT NOT NULL, sex TEXT NOT NULL, age TEXT NOT NULL, intent TEXT NOT NULL,
  series_number TEXT NOT NULL, transfer_syntax TEXT NOT NULL, photometric TEXT NOT NULL,
  rows INTEGER NOT NULL, columns INTEGER NOT NULL, bits_stored INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failure (
  file BLOB NOT NULL, spec BLOB NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (file, spec)
) WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


@dataclass(frozen=True)
class Series:
    """One series of an archive: `series` is its keyed hash, `usable` its files without a fault of their own,
    `faults` the others by reason."""

    series: str
    modality: str
    manufacturer: str
    files: int
    usable: int
    faults: Mapping[str, int]


class Catalog:
    """The database at `path`, made if it is not there. A context manager. Raises SiteError if it cannot be used."""

    @classmethod
    def of(cls, archive: Path, home: Path) -> Self:
        """The catalog of `archive` in a folder of its own under `home`; both are made if they are not there."""
        name = hashlib.sha256(os.fsencode(archive.resolve())).hexdigest()[:16]
        folder = home / name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SiteError(f"folder {folder}", got=error.strerror or str(error), do="Check the path.") from None
        return cls(folder / "catalog.sqlite")

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._telling():
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        try:
            self._prepare()
        except SiteError:
            self.close()
            raise

    def _prepare(self) -> None:
        with self._telling():
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                do = "Delete it; the next scan makes a new one."
                raise SiteError(f"catalog {self.path}", expected=f"version {VERSION}", got=f"version {version}", do=do)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute("PRAGMA user_version = 1")

    def entries(self) -> dict[bytes, Entry]:
        """All entries by their file's keyed hash."""
        with self._telling():
            found = (Entry(*row) for row in self._connection.execute("SELECT * FROM entry"))
            return {entry.file: entry for entry in found}

    def series(self) -> Iterator[Series]:
        """The series of the archive, in an order that only the site's key determines."""
        for series, group in itertools.groupby(
            sorted((entry for entry in self.entries().values() if entry.series), key=lambda entry: entry.series),
            key=lambda entry: entry.series,
        ):
            files = list(group)
            faults = Counter(entry.fault for entry in files if entry.fault)
            usable = len(files) - faults.total()
            yield Series(
                series.hex(), files[0].modality, files[0].manufacturer, len(files), usable, dict(sorted(faults.items()))
            )

    def put(self, entries: Iterable[Entry]) -> None:
        """Write `entries` in one transaction; what was known of the same files, failures too, is replaced."""
        rows = [_row(entry) for entry in entries]
        with self._telling(), self._transaction():
            self._connection.executemany("DELETE FROM failure WHERE file = ?", [row[:1] for row in rows])
            self._connection.executemany(_PUT, rows)

    def remove(self, files: Iterable[bytes]) -> None:
        """Forget `files` in one transaction."""
        rows = [(file,) for file in files]
        with self._telling(), self._transaction():
            self._connection.executemany("DELETE FROM failure WHERE file = ?", rows)
            self._connection.executemany("DELETE FROM entry WHERE file = ?", rows)

    def failures(self, spec: bytes) -> dict[bytes, Reason]:
        """Files whose pixels could not become the tensor of `spec` (shared.study.spec_hash), and why."""
        with self._telling():
            rows = self._connection.execute("SELECT file, reason FROM failure WHERE spec = ?", (spec,))
            return {file: Reason(reason) for file, reason in rows}

    def record_failures(self, spec: bytes, failures: Mapping[bytes, Reason]) -> None:
        """Remember `failures`; they hold until the file changes."""
        rows = [(file, spec, reason.value) for file, reason in failures.items()]
        with self._telling(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO failure VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:  # damaged names, values of other types
            do = "Check disk space and permissions; if it is damaged, delete it: the next scan makes a new one."
            raise SiteError(f"catalog {self.path}", expected="a usable database", got=str(error), do=do) from None


def _row(entry: Entry) -> tuple[object, ...]:
    return tuple(getattr(entry, field.name) for field in fields(Entry))
