"""The catalog's tables, and the records that go in and out of them."""

from dataclasses import dataclass, field
from typing import NamedTuple

from client.dicom.item import Stamp
from client.dicom.scanning.entry import Row

#: Raised with every change of what an entry holds, of geometry's frames, or of the rules that give a fault (rules.py):
#: files that stand as they did are not read again, so what an older Konsil made of them would stay.
VERSION = 5

#: The columns of `entry`, behind its page, are the fields of Entry, in order. Rows are appended and found by slim
#: indexes: a table ordered by random hashes would be written all over with every batch.
SCHEMA = """
CREATE TABLE IF NOT EXISTS page (
  id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, digest BLOB NOT NULL, files INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS entry (
  page INTEGER NOT NULL,
  file BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
  fault TEXT NOT NULL, sop BLOB NOT NULL, series BLOB NOT NULL, study BLOB NOT NULL, accession BLOB NOT NULL,
  bare_patient BLOB NOT NULL, patient BLOB NOT NULL, orphan INTEGER NOT NULL, modality TEXT NOT NULL,
  manufacturer TEXT NOT NULL, sex TEXT NOT NULL, age TEXT NOT NULL, intent TEXT NOT NULL,
  series_number TEXT NOT NULL, transfer_syntax TEXT NOT NULL, photometric TEXT NOT NULL,
  rows INTEGER NOT NULL, columns INTEGER NOT NULL, bits_stored INTEGER NOT NULL, sop_class TEXT NOT NULL,
  year INTEGER NOT NULL, view_position TEXT NOT NULL, laterality TEXT NOT NULL, body_part TEXT NOT NULL,
  number_of_frames INTEGER NOT NULL, frames BLOB NOT NULL, sealed BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_page ON entry (page);
CREATE INDEX IF NOT EXISTS entry_series ON entry (series, file);
CREATE TABLE IF NOT EXISTS failure (
  item BLOB NOT NULL, spec BLOB NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (item, spec)
) WITHOUT ROWID;
"""
DROP = "DROP TABLE IF EXISTS page; DROP TABLE IF EXISTS entry; DROP TABLE IF EXISTS failure;"


class Known(NamedTuple):
    """What is remembered of a file: where it stood, its stamp and its fault."""

    page: int
    stamp: Stamp
    fault: str


class Seen(NamedTuple):
    """What is remembered of a page (walk.Page): `digest` of its files, b"" while some are yet to be read."""

    id: int
    digest: bytes
    files: int


@dataclass(frozen=True)
class Batch:
    """What one transaction writes: new pages (id, name), rows with their page before them, files that are on another
    page now (page, file), files that are gone, and pages that are done (digest, files, id)."""

    opened: list[tuple[int, bytes]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    moved: list[tuple[int, bytes]] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    settled: list[tuple[bytes, int, int]] = field(default_factory=list)
