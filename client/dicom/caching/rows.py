"""The files of one canonical tensor: rows of equal size, and the directory that says what they hold.

Guarantees: a row that anybody has mapped is never written again, moved or cut off. Rules: whoever maps the rows holds a
shared lock on their file for as long as the map lives (the map's own handle holds it: it ends with the last array, or
with the process, however that ends); what must not be seen by a map happens in `alone`, under the exclusive lock;
only one process at a time builds (client/dicom/cache.py), so that FREE rows are nobody else's.
"""

import fcntl
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from client.dicom.caching.directory import (
    FREE_RECORD,
    LOST_RECORD,
    RECORD_BYTES,
    Directory,
    State,
    read_directory,
    record_of,
)
from client.dicom.crew import cores
from client.dicom.decoding import write_all
from shared.errors import MisuseError
from shared.files import folder_as_owner, open_as_owner

#: Of a file of rows; before it stand the bytes of one row, so that the room it takes is known without its study.
SUFFIX = ".rows"
#: Bytes read at once.
CHUNK = 1 << 24


class Rows:
    """The rows in `folder`, each of `row_bytes`, open and held against eviction. A context manager. Raises OSError."""

    def __init__(self, folder: Path, row_bytes: int) -> None:
        self.row_bytes = row_bytes
        self.path = folder / f"{row_bytes}{SUFFIX}"
        self.seed = zlib.crc32(f"konsil/cache/v1 {folder.name} {row_bytes}".encode())

    @classmethod
    def all(cls, root: Path) -> list[Self]:
        """The rows of every tensor under `root`, closed."""
        paths = sorted(root.glob(f"*/*{SUFFIX}"))
        return [cls(path.parent, int(path.stem)) for path in paths if path.stem.isdecimal() and int(path.stem)]

    def __enter__(self) -> Self:
        folder_as_owner(self.path.parent)
        with ExitStack() as stack:
            self._rows = stack.enter_context(_opened(self.path))
            self._directory = stack.enter_context(_opened(self.path.with_suffix(".directory")))
            fcntl.flock(self._rows, fcntl.LOCK_SH)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else has the rows mapped or open; if so, nobody can open them while the block runs.

        Only under the lock of the whole cache: for a moment on either side no lock is held.
        """
        try:
            fcntl.flock(self._rows, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        try:
            yield alone
        finally:
            fcntl.flock(self._rows, fcntl.LOCK_SH)

    @property
    def file_bytes(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._rows.fileno()).st_size

    def directory(self) -> Directory:
        """What the rows hold by now."""
        self._directory.seek(0)
        return read_directory(self.seed, self._directory.read())

    def enter(self, row: int, name: bytes, used: int, check: int) -> None:
        """`row` holds `name`, whole."""
        record = record_of(self.seed, row, name, used, check)
        write_all(self._directory.fileno(), record, row * RECORD_BYTES)

    def touch(self, directory: Directory, rows: Iterable[int], used: int) -> None:
        """Enter anew `used` as the time of last use of `rows`, as `directory` has them."""
        self._directory.seek(0)
        records = bytearray(self._directory.read())
        checks = directory.check.tolist()
        for row in rows:
            record = record_of(self.seed, row, directory.name[row].tobytes(), used, checks[row])
            records[row * RECORD_BYTES : (row + 1) * RECORD_BYTES] = record
        write_all(self._directory.fileno(), records, 0)

    def give_up(self, rows: Iterable[int], *, alone: bool) -> None:
        """`rows` hold nothing any more; they are free at once if nobody can have them mapped."""
        record = FREE_RECORD if alone else LOST_RECORD
        for row in rows:
            write_all(self._directory.fileno(), record, row * RECORD_BYTES)

    def damaged(self, directory: Directory, rows: Iterable[int]) -> list[int]:
        """Those of `rows` whose bytes are not what `directory` says."""
        chosen, checks = sorted(rows), directory.check.tolist()
        size = max(1, CHUNK // self.row_bytes)
        groups = [chosen[first : first + size] for first in range(0, len(chosen), size)]

        def damaged(group: list[int]) -> list[int]:
            return [row for row in group if self.checksum(row) != checks[row]]

        with ThreadPoolExecutor(cores()) as threads:  # reading and CRC-32 hold no interpreter lock
            return [row for found in threads.map(damaged, groups) for row in found]

    def checksum(self, row: int) -> int | None:
        """CRC-32 of the bytes of `row`; None if they cannot be read, or not all are there.

        Read, not mapped: a bad sector is an error then, not the end of the process.
        """
        check, start, end = 0, row * self.row_bytes, (row + 1) * self.row_bytes
        while start < end:
            try:
                data = os.pread(self._rows.fileno(), min(CHUNK, end - start), start)
            except OSError:
                return None
            if not data:
                return None
            check, start = zlib.crc32(data, check), start + len(data)
        return check

    def vacant(self, count: int, *, alone: bool) -> list[int]:
        """`count` rows, ascending, that hold nothing and nobody looks at; those behind the end are still to come."""
        directory = self.directory()
        free: list[int] = directory.rows(State.FREE)[:count].tolist()
        end = len(directory.state)
        if not alone:  # a torn directory may know less than somebody has mapped
            end = max(end, -(-self.file_bytes // self.row_bytes))
        return free + list(range(end, end + count - len(free)))

    def reserve(self, rows: list[int]) -> None:
        """Take the disk's room for `rows`, ascending. Raises OSError if there is none; nothing is taken then."""
        before = self.file_bytes
        try:
            for first, end in _runs(rows):
                os.posix_fallocate(self._rows.fileno(), first * self.row_bytes, (end - first) * self.row_bytes)
        except OSError:
            self._rows.truncate(before)  # nobody can have mapped what lies behind
            raise
        records = RECORD_BYTES * (rows[-1] + 1 if rows else 0)
        if os.fstat(self._directory.fileno()).st_size < records:
            self._directory.truncate(records)

    def close_gaps(self, directory: Directory) -> None:
        """Move rows from the end into those that hold nothing, and cut the file there. Only while `alone`.

        Killed on the way, it leaves a row that is entered twice, which is whole at either place.
        """
        held = directory.rows(State.HELD).tolist()
        gaps = [row for row in directory.rows(State.FREE, State.LOST).tolist() if row < len(held)]
        for gap, row in zip(gaps, reversed(held), strict=False):
            self._copy(row, gap)
            self.enter(gap, directory.name[row].tobytes(), int(directory.used[row]), int(directory.check[row]))
            self.give_up([row], alone=True)
        self._rows.truncate(len(held) * self.row_bytes)
        self._directory.truncate(len(held) * RECORD_BYTES)

    def _copy(self, source: int, target: int) -> None:
        start, to, end = source * self.row_bytes, target * self.row_bytes, (source + 1) * self.row_bytes
        while start < end:
            data = os.pread(self._rows.fileno(), min(CHUNK, end - start), start)
            if not data:  # the file is shorter than its directory says: the checksum will tell
                return
            write_all(self._rows.fileno(), data, to)
            start, to = start + len(data), to + len(data)

    def map(self, shape: tuple[int, ...], dtype: str = "float32") -> NDArray[Any]:
        """All rows, `dtype` [R, *shape], read-only and mapped; as long as the array lives, none is evicted."""
        if np.dtype(dtype).itemsize * int(np.prod(shape)) != self.row_bytes:
            raise MisuseError("shape of a row", expected=f"{self.row_bytes} bytes", got=str(shape))
        count = self.file_bytes // self.row_bytes
        if not count:
            return np.zeros((0, *shape), dtype=dtype)
        # mmap keeps a duplicate of this handle, and with it the shared lock, for as long as the map lives
        mapped = np.memmap(self._rows, dtype=dtype, mode="r", shape=(count, *shape))
        return np.asarray(mapped)


def _opened(path: Path) -> FileIO:
    return FileIO(open_as_owner(path, os.O_RDWR), "r+b")


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Ascending `rows` as stretches (first, one past the last)."""
    start = 0
    for index in range(1, len(rows) + 1):
        if index == len(rows) or rows[index] != rows[index - 1] + 1:
            yield rows[start], rows[index - 1] + 1
            start = index
