"""Bringing a catalog up to date with its archive: what is new or changed is read, the rest is not even looked up.

Guarantees: only files that are new or changed are opened; nothing in a file can stop it; what was read is committed
every CHUNK files, so a scan that was killed, however hard, goes on where it stopped; memory stays bounded whatever the
archive's size. A page (walk.py) whose files all stand as they did is known by one digest. Files that could not be read,
or changed while they were, are tried again each time.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

from client.dicom.keys import file_key, short_key
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Batch, Catalog
from client.dicom.scanning.entry import COLUMNS, Row
from client.dicom.scanning.reading import read_rows
from client.dicom.scanning.walk import File, Page, base_of, count, listed, pages
from shared.errors import InputError, SiteError
from shared.workers import pool

#: Files between two commits, and of one job of a worker.
CHUNK = 1000
#: Chunks below which starting workers takes longer than reading.
ALONE = 4
PROCESSES = 2

#: Perhaps a moment's trouble of the disk.
_AGAIN = frozenset((Reason.UNREADABLE.value, Reason.CHANGED.value))
_FILE, _FAULT = COLUMNS.index("file"), COLUMNS.index("fault")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Changes:
    """How many files were read, stood as they did, and went; `files` of the archive now."""

    read: int
    unchanged: int
    removed: int
    files: int


@dataclass
class _Chunk:
    """Files to read, the pages they are on, and what else is to be written with them."""

    files: list[File] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    batch: Batch = field(default_factory=Batch)

    @property
    def full(self) -> bool:
        """Whether it is time for a commit."""
        batch = self.batch
        return max(len(self.files), len(batch.gone), len(batch.moved), len(batch.settled)) >= CHUNK


def refresh(
    archive: Path,
    catalog: Catalog,
    *,
    key: bytes,
    ignore: Path | None = None,
    progress: Progress | None = None,
    processes: int = PROCESSES,
) -> Changes:
    """Bring `catalog` up to date with `archive`: a folder, a zip, or a DICOMDIR, whose folder is then read.

    `key` is the site's; `ignore` a file that is none of the archive's, its label file. progress(done, total) is told
    after each chunk of files that was read; the total is an estimate. Raises InputError if there is no DICOM file,
    SiteError for the catalog's disk.
    """
    task = _Refresh(archive, catalog, key, progress)
    read = partial(read_rows, base_of(archive), key)
    for chunk, rows in _results(task.chunks(ignore), read, processes):
        task.commit(chunk, rows)
    removed = task.removed + (catalog.keep_only(task.seen) if task.files else 0)
    if not catalog.holds_dicom():
        got = f"{task.files} files, none of them DICOM" if task.files else "an empty folder"
        do = "Point at the folder that holds the images (konsil-client dicomize makes DICOM from PNG, JPEG or NPZ)."
        raise InputError(f"archive {archive}", expected="a folder with DICOM files", got=got, do=do)
    return Changes(task.read, task.files - task.read, removed, task.files)


class _Refresh:
    """What is known in the middle of a refresh."""

    def __init__(self, archive: Path, catalog: Catalog, key: bytes, progress: Progress | None) -> None:
        self.archive, self.catalog, self.key, self.progress = archive, catalog, key, progress
        self.files = self.read = self.removed = 0
        self.seen = set[int]()
        self._last_page = catalog.last_page()
        self._total = 0
        self._unsettled = set[int]()

    def chunks(self, ignore: Path | None) -> Iterator[_Chunk]:
        """What is to be read and written, in the order of the walk."""
        chunk = _Chunk()
        for page in pages(self.archive, ignore):
            for file in self._stale(page, chunk):
                chunk.files.append(file[1])
                chunk.pages.append(file[0])
                if chunk.full:
                    yield chunk
                    chunk = _Chunk()
            self._settle(chunk)
            if chunk.full:
                yield chunk
                chunk = _Chunk()
        yield chunk

    def _stale(self, page: Page, chunk: _Chunk) -> Iterator[tuple[int, File]]:
        """Page and file of each file of `page` that is to be read; the rest goes to the chunk."""
        ...

    def commit(self, chunk: _Chunk, rows: list[Row]) -> None:
        ...
