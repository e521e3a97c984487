"""Bringing a catalog up to date with its archive: what is new or changed is read, the rest is not even looked up.

Guarantees: only files that are new or changed are opened; nothing in a file can stop it; what was read is committed
every CHUNK files, so a scan that was killed, however hard, goes on where it stopped; memory stays bounded whatever the
archive's size. A page (walk.py) whose files all stand as they did is known by one digest. Files that could not be read,
or changed while they were, are tried again each time.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

from client.dicom.keys import file_key, short_key
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import COLUMNS, Row
from client.dicom.scanning.reading import read_rows
from client.dicom.scanning.tables import Batch, Known
from client.dicom.scanning.walk import File, Page, base_of, count, listed, pages
from shared.errors import InputError, SiteError
from shared.workers import pool

#: Files between two commits, and of one job of a worker.
CHUNK = 1000
#: Chunks below which starting workers takes longer than reading.
ALONE = 4
#: Workers, if there are as many processors: beyond that they wait for the disk and for the one that writes.
MOST_PROCESSES = 8

#: Perhaps a moment's trouble of the disk.
_AGAIN = frozenset((Reason.UNREADABLE.value, Reason.CHANGED.value))
_FAULT = COLUMNS.index("fault")

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
    """Files to read, the page each is on, and what else is to be written with them. `done`: files dealt with so far."""

    files: list[File] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    batch: Batch = field(default_factory=Batch)
    done: int = 0


def refresh(
    archive: Path,
    catalog: Catalog,
    *,
    key: bytes,
    ignore: Path | Iterable[Path] = (),
    progress: Progress | None = None,
    processes: int | None = None,
) -> Changes:
    """Bring `catalog` up to date with `archive`: a folder, a zip, or a DICOMDIR, whose folder is then read.

    `key` is the site's; `ignore` files that are none of the archive's: its label file, masks; `processes` read headers,
    by default as many as there are processors for. progress(done, total) is told after each chunk of files that was
    read; the total is an estimate. Raises InputError if there is no DICOM file, SiteError for the catalog's disk.
    """
    with catalog.alone():
        task = _Refresh(archive, catalog, key, progress)
        read = partial(read_rows, base_of(archive), key)
        workers = processes or min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
        with closing(_results(task.chunks([ignore] if isinstance(ignore, Path) else ignore), read, workers)) as results:
            for chunk, rows in results:
                task.commit(chunk, rows)
        removed = task.removed + (catalog.keep_only(task.seen) if task.files else 0)
    if not task.files or not catalog.holds_dicom():
        raise _no_dicom(archive, catalog, task.files)
    return Changes(task.read, task.files - task.read, removed, task.files)


def _no_dicom(archive: Path, catalog: Catalog, files: int) -> InputError:
    """There may be images in what was not opened: that is said first."""
    got = f"{files} files, none of them DICOM" if files else "an empty folder"
    do = "Point at the folder that holds the images (konsil-client dicomize makes DICOM from PNG, JPEG or NPZ)."
    unsafe = Reason.UNSAFE_CONTAINER
    if files and (unopened := catalog.left_out(unsafe)):
        got, do = f"{files} files, of which {unopened} not opened: {unsafe.explain}", unsafe.advice
    return InputError(f"archive {archive}", expected="a folder with DICOM files, or a zip of them", got=got, do=do)


class _Refresh:
    """A refresh under way: `files` dealt with so far, those that were `read` or `removed`, and the pages `seen`."""

    def __init__(self, archive: Path, catalog: Catalog, key: bytes, progress: Progress | None) -> None:
        self.archive, self.catalog, self.key, self.progress = archive, catalog, key, progress
        self.files = self.read = self.removed = 0
        self.seen = set[int]()
        self._last_page = catalog.last_page()
        self._total = 0  # not counted yet
        self._unpacked = 0  # members beyond the zips that hold them
        self._unsettled = set[int]()
        self._chunk = _Chunk()

    def chunks(self, ignore: Iterable[Path]) -> Iterator[_Chunk]:
        """What is to be read and written, in the order of the walk."""
        for page in pages(self.archive, ignore):
            yield from self._look_at(page)
        yield self._taken()

    def _look_at(self, page: Page) -> Iterator[_Chunk]:
        """Chunks that became full with `page`; an unchanged one costs a digest."""
        name = short_key(self.key, "page", os.fsencode(page.name) + b"\0")
        digest, seen = self._digest(page), self.catalog.page(name)
        if seen and seen.digest == digest:
            self._count(page, seen.id, seen.files)
            return
        if page.container:
            page = listed(page, base_of(self.archive))
        number = self._opened(name) if seen is None else seen.id
        files = {file_key(self.key, file.path, file.member): file for file in page.files}
        known = self.catalog.known(list(files))
        self._chunk.batch.moved.extend((number, file) for file, was in known.items() if was.page != number)
        gone = [file for file in self.catalog.on_page(number) if file not in files] if seen else []
        self._chunk.batch.gone.extend(gone)
        self.removed += len(gone)
        stale = [file for name, file in files.items() if _is_stale(known.get(name), file)]
        self._count(page, number, len(files) - len(stale))
        for file in stale:
            self.files += 1
            self._chunk.files.append(file)
            self._chunk.pages.append(number)
            if len(self._chunk.files) >= CHUNK:
                yield self._taken()
        self._chunk.batch.settled.append((digest, len(files), number))
        batch = self._chunk.batch
        if max(len(batch.gone), len(batch.moved), len(batch.settled)) >= CHUNK:
            yield self._taken()

    def commit(self, chunk: _Chunk, rows: list[Row]) -> None:
        """Write what was found. A page with files to be tried again is not settled."""
        pages = zip(chunk.pages, rows, strict=True)
        self._unsettled |= {page for page, row in pages if row[_FAULT] in _AGAIN}
        batch = chunk.batch
        batch.settled[:] = [(b"" if page in self._unsettled else d, n, page) for d, n, page in batch.settled]
        batch.rows.extend((page, *row) for page, row in zip(chunk.pages, rows, strict=True))
        self.catalog.write(batch)
        self.read += len(rows)
        if self.progress and rows:
            self._total = self._total or count(self.archive)
            self.progress(chunk.done, max(chunk.done, self._total + self._unpacked))

    def _digest(self, page: Page) -> bytes:
        """Of names and stamps; keyed, because names can be guessed."""
        lines = "\n".join(f"{f.path}\0{f.size} {f.mtime_ns} {f.inode} {f.fault}" for f in page.files)
        return short_key(self.key, "page-files", lines.encode("utf-8", "surrogateescape"))

    def _count(self, page: Page, number: int, files: int) -> None:
        self.seen.add(number)
        self.files += files
        self._unpacked += files - 1 if page.container else 0

    def _opened(self, name: bytes) -> int:
        self._last_page += 1
        self._chunk.batch.opened.append((self._last_page, name))
        return self._last_page

    def _taken(self) -> _Chunk:
        chunk, self._chunk = self._chunk, _Chunk()
        chunk.done = self.files
        return chunk


def _is_stale(known: Known | None, file: File) -> bool:
    return known is None or known.stamp != file.stamp or known.fault in _AGAIN


def _results(
    chunks: Iterator[_Chunk], read: Callable[[Sequence[File]], list[Row]], processes: int
) -> Generator[tuple[_Chunk, list[Row]], None, None]:
    """Each chunk and what was read of it, in order: by this process first, by workers if there is much to do."""
    for chunk in islice(chunks, ALONE if processes > 1 else None):
        yield chunk, read(chunk.files)
    first = next(chunks, None)
    if first is None:
        return
    with pool(processes) as executor:
        waiting: deque[tuple[_Chunk, Future[list[Row]]]] = deque()
        for chunk in chain((first,), chunks):
            waiting.append((chunk, executor.submit(read, chunk.files)))
            if len(waiting) > 2 * processes:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())


def _result(chunk: _Chunk, future: Future[list[Row]]) -> tuple[_Chunk, list[Row]]:
    try:
        return chunk, future.result()
    except BrokenProcessPool:
        do = "Was it killed for want of memory? Scan again: what was read is kept."
        raise SiteError("reading headers", expected="a worker process that lives", got="a dead one", do=do) from None
