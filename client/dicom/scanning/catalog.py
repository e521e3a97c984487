"""The catalog: what was found in each file of an archive, so that only changed files are read again.

An SQLite database. Guarantees: no name, patient id, accession number, UID or path in clear (client/dicom/keys.py);
what is committed is whole, so a scan that was killed goes on where it stopped; entries are streamed, never held all at
once. WAL with synchronous=NORMAL, not FULL as for the ledger: after a power cut the last batches may be missing, never
half there, and the next scan reads those files again; nothing is promised on the strength of a catalog. A catalog of
an older version is emptied: the next scan fills it.
"""

import contextlib
import fcntl
import hashlib
import itertools
import os
import sqlite3
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from client.dicom.reasons import Reason
from client.dicom.scanning.entry import COLUMNS, Entry
from client.dicom.scanning.tables import DROP, SCHEMA, VERSION, Batch, Known, Seen
from shared.errors import SiteError

__all__ = ["VERSION", "Batch", "Catalog", "Entry", "Known", "Seen", "Series"]

#: Hashes asked for at once; SQLite admits 32,766 parameters.
_ASKED = 1000

_FAULTS = frozenset(reason.value for reason in Reason)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM entry"  # noqa: S608  names of our own
_PUT = f"INSERT OR REPLACE INTO entry VALUES (?{',?' * len(COLUMNS)})"  # noqa: S608


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
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA cache_size = -65536")  # KiB: the indexes of a million files
        if self._version() != VERSION:
            with self.alone():  # switching to WAL does not wait for others who do
                self._make()

    def _version(self) -> int:
        version = self._first("PRAGMA user_version")
        if version > VERSION:
            do = "Upgrade Konsil here, or delete it; the next scan makes a new one."
            raise SiteError(f"catalog {self.path}", expected=f"version {VERSION}", got=f"version {version}", do=do)
        return version

    def _make(self) -> None:
        with self._telling():
            if (version := self._version()) == VERSION:
                return
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript((DROP if version else "") + SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def entries(self) -> Iterator[Entry]:
        """All entries, series by series. As with every iterator here, write nothing before it has ended."""
        with self._telling():
            yield from _entries(self._connection.execute(_SELECT + " ORDER BY series, file"))

    def series_entries(self) -> Iterator[tuple[Entry, ...]]:
        """The files of each series, in an order that only the site's key determines; files without a series alone."""
        for series, files in itertools.groupby(self.entries(), key=lambda entry: entry.series):
            if series:
                yield tuple(files)
            else:
                yield from ((file,) for file in files)

    def series(self) -> Iterator[Series]:
        """The series of the archive, in the order of `series_entries`."""
        for series, files in itertools.groupby(self.entries(), key=lambda entry: entry.series):
            if series:
                yield _summary(files)

    def usable(self) -> int:
        """How many files have no fault of their own."""
        return int(self._first("SELECT COUNT(*) FROM entry WHERE fault = ''"))

    def holds_dicom(self) -> bool:
        """Whether any file is a DICOM object, however damaged."""
        others = (Reason.NOT_DICOM.value, Reason.SPECIAL_FILE.value, Reason.UNSAFE_CONTAINER.value)
        return bool(self._first("SELECT EXISTS (SELECT 1 FROM entry WHERE fault NOT IN (?, ?, ?))", *others))

    def repeated(self) -> Iterator[tuple[Entry, ...]]:
        """The whole files of each object that has several; under another patient, too: mostly a number was corrected,
        and one image under two patients could be trained on and tested on."""
        with self._telling():
            whole = "WHERE fault = '' AND sop != x''"
            twice = f"SELECT sop FROM entry {whole} GROUP BY sop HAVING COUNT(*) > 1"  # noqa: S608
            found = self._connection.execute(f"{_SELECT} {whole} AND sop IN ({twice}) ORDER BY sop")
            for _, files in itertools.groupby(_entries(found), key=lambda entry: entry.sop):
                yield tuple(files)

    def objects_of(self, series: bytes) -> int:
        """How many objects of `series` are there in whole files."""
        return int(self._first("SELECT COUNT(DISTINCT sop) FROM entry WHERE series = ? AND fault = ''", series))

    def left_out(self, reason: Reason) -> int:
        """How many files have `reason` as a fault of their own."""
        return int(self._first("SELECT COUNT(*) FROM entry WHERE fault = ?", reason.value))

    def page(self, name: bytes) -> Seen | None:
        """The page of this keyed name, if it is known."""
        with self._telling():
            row = self._connection.execute("SELECT id, digest, files FROM page WHERE name = ?", (name,)).fetchone()
            return Seen(*row) if row else None

    def last_page(self) -> int:
        """The highest id of a page; 0 for none."""
        return int(self._first("SELECT COALESCE(MAX(id), 0) FROM page"))

    def known(self, files: list[bytes]) -> dict[bytes, Known]:
        """Those of `files` that are remembered, on whatever page."""
        found: dict[bytes, Known] = {}
        for first in range(0, len(files), _ASKED):
            asked = files[first : first + _ASKED]
            marks = ",".join("?" * len(asked))
            sql = f"SELECT file, page, size, mtime_ns, inode, fault FROM entry WHERE file IN ({marks})"  # noqa: S608
            with self._telling():
                for file, page, size, mtime_ns, inode, fault in self._connection.execute(sql, asked):
                    found[file] = Known(page, (size, mtime_ns, inode), fault)
        return found

    def on_page(self, page: int) -> list[bytes]:
        """The files of a page."""
        with self._telling():
            return [row[0] for row in self._connection.execute("SELECT file FROM entry WHERE page = ?", (page,))]

    def write(self, batch: Batch) -> None:
        """All of `batch` in one transaction; what was known of files that were read is replaced."""
        execute = self._connection.executemany
        with self._telling(), self._transaction():
            execute("INSERT INTO page VALUES (?, ?, x'', 0)", batch.opened)
            execute(_PUT, batch.rows)
            execute("UPDATE entry SET page = ? WHERE file = ?", batch.moved)
            execute("DELETE FROM entry WHERE file = ?", [(file,) for file in batch.gone])
            execute("UPDATE page SET digest = ?, files = ? WHERE id = ?", batch.settled)

    def keep_only(self, pages: Container[int]) -> int:
        """Forget the pages that are not in `pages`, and their files. Returns how many files those were."""
        with self._telling():
            stale = [row for row in self._connection.execute("SELECT id FROM page") if row[0] not in pages]
        if not stale:
            return 0
        with self._telling(), self._transaction():
            removed = self._connection.executemany("DELETE FROM entry WHERE page = ?", stale).rowcount
            self._connection.executemany("DELETE FROM page WHERE id = ?", stale)
        return removed

    def failures(self, spec: bytes) -> dict[bytes, Reason]:
        """Items (Item.name) that could not become the tensor of `spec` (shared.study.spec_hash), and why."""
        with self._telling():
            rows = self._connection.execute("SELECT item, reason FROM failure WHERE spec = ?", (spec,))
            return {item: Reason(reason) for item, reason in rows}

    def record_failures(self, spec: bytes, failures: Mapping[bytes, Reason]) -> None:
        """Remember `failures`. An item's name speaks of its content, so they hold for good."""
        rows = [(item, spec, reason.value) for item, reason in failures.items()]
        with self._telling(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO failure VALUES (?, ?, ?)", rows)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One refresh at a time: a second process waits here, and then finds the work done."""
        with self._telling():
            gate = os.open(self.path.with_name(self.path.name + ".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield
        finally:
            os.close(gate)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first(self, sql: str, *values: object) -> int:
        with self._telling():
            return int(self._connection.execute(sql, values).fetchone()[0])

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
        except (
            sqlite3.Error,
            OSError,
            ValueError,
            TypeError,
            OverflowError,
        ) as error:  # damaged names, values of other types
            do = "Check disk space and permissions; if it is damaged, delete it: the next scan makes a new one."
            raise SiteError(f"catalog {self.path}", expected="a usable database", got=str(error), do=do) from None


def _entries(rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
    """Raises ValueError for a fault that is none: pages of the file were exchanged or damaged."""
    for row in rows:
        entry = Entry(*row)
        if entry.fault and entry.fault not in _FAULTS:
            raise ValueError("a fault that is not in the list")
        yield entry


def _summary(files: Iterator[Entry]) -> Series:
    first, faults = next(files), Counter[str]()
    number = 0
    for entry in itertools.chain((first,), files):
        number += 1
        faults[entry.fault] += 1
    usable = faults.pop("", 0)
    return Series(first.series.hex(), first.modality, first.manufacturer, number, usable, dict(sorted(faults.items())))
