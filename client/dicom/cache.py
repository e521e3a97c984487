"""Decoded images on disk, mapped into memory: float32 [N, C, H, W], one folder per canonical tensor.

Guarantees: room for the whole file is taken before any work, so a full disk is found at once; a killed build leaves
nothing that a later one would take for whole (temporary file, fsync, rename; the index is written last, carries
its own digest and a checksum of every row, and both are verified on opening); whatever is torn or foreign is
built again; images that are there already are copied, not decoded again.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.decoding import Task, decode_all
from client.dicom.reasons import Reason
from shared.errors import PeerError, SiteError
from shared.study import Input, spec_hash
from shared.wire import Record, digest, pack, unpack

INDEX_LABEL = "konsil/cache-index/v1"
#: Bytes copied at once.
CHUNK = 1 << 24

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Index(Record, frozen=True):
    """What a file of pixels holds: `objects[i]` is the image in row i, `checks[i]` the CRC-32 of the row's bytes."""

    spec: bytes
    shape: tuple[int, int, int]
    objects: tuple[bytes, ...]
    checks: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return 4 * self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def file_name(self) -> str:
        """Another set of images gets another file: one that is still mapped is never written to."""
        return f"pixels-{digest('konsil/cache-objects/v1', *self.objects).hex()[:32]}.f32"


@dataclass(frozen=True)
class Source:
    """An image to cache: `object` names its content (identity, size, time of change), `stamp` the file's state."""

    object: bytes
    path: Path
    stamp: tuple[int, int, int]


@dataclass(frozen=True)
class Cached:
    """`pixels` float32 [N, C, H, W], read-only and mapped; row i is `objects[i]`; `failures`: object → reason."""

    pixels: NDArray[np.float32]
    objects: tuple[bytes, ...]
    failures: Mapping[bytes, Reason]


class Cache:
    """The cache of tensor `spec` in `folder`, which is made if it is not there."""

    def __init__(self, folder: Path, spec: Input) -> None:
        self.folder = folder
        self.spec = spec
        self._shape = spec.shape

    def build(self, sources: Sequence[Source], progress: Callable[[int, int], None] | None = None) -> Cached:
        """Every image of `sources`, in that order, without those that cannot be decoded.

        `progress(done, total)` counts decoded images. Raises SiteError if the disk is full or cannot be used.
        """
        wanted = self._index(source.object for source in sources)
        with self._telling(len(sources) * wanted.row_bytes), self._lock():
            present = self._verified()
            if present is None or present.objects != wanted.objects:
                failures, present = self._rebuild(sources, wanted, present, progress)
            else:
                failures = {}
            return Cached(self._map(present), present.objects, failures)

    def _index(self, objects: Iterator[bytes], checks: Sequence[int] = ()) -> Index:
        return Index(spec=spec_hash(self.spec), shape=self._shape, objects=tuple(objects), checks=tuple(checks))

    def _map(self, index: Index) -> NDArray[np.float32]:
        shape = (len(index.objects), *index.shape)
        if not index.objects:
            return np.zeros(shape, dtype=np.float32)
        return np.memmap(self.folder / index.file_name, dtype=np.float32, mode="r", shape=shape)

    def _verified(self) -> Index | None:
        """The index, if it and every row it names are whole and of this tensor."""
        try:
            stored = (self.folder / "index").read_bytes()
            index = unpack(Index, stored[32:])
            whole = stored[:32] == digest(INDEX_LABEL, index)
            if not whole or index.spec != spec_hash(self.spec) or index.shape != self._shape:
                return None
            with (self.folder / index.file_name).open("rb") as file:
                checks = tuple(zlib.crc32(file.read(index.row_bytes)) for _ in index.objects)
                rest = file.read(1)
        except (OSError, PeerError):
            return None
        return index if checks == index.checks and not rest else None

    def _rebuild(
        self,
        sources: Sequence[Source],
        wanted: Index,
        present: Index | None,
        progress: Callable[[int, int], None] | None,
    ) -> tuple[dict[bytes, Reason], Index]:
        """Write the pixels, then the index; remove what was there before."""
        self._clean(keep=present)
        draft = self.folder / "pixels.partial"
        checks: dict[int, int] = {}
        try:
            with draft.open("wb") as file:
                if sources:
                    os.posix_fallocate(file.fileno(), 0, len(sources) * wanted.row_bytes)
            if present:
                checks |= self._copy(draft, wanted, present)
            tasks = [Task(row, source.path, source.stamp) for row, source in enumerate(sources) if row not in checks]
            outcome = decode_all(draft, self.spec, tasks, progress)
            checks |= outcome.checks
            kept = sorted(checks)
            index = self._index((wanted.objects[row] for row in kept), [checks[row] for row in kept])
            _compact(draft, kept, wanted.row_bytes)
            draft.replace(self.folder / index.file_name)
            self._write_index(index)
        finally:
            draft.unlink(missing_ok=True)
        self._clean(keep=index)
        return {wanted.objects[row]: reason for row, reason in outcome.failures.items()}, index

    def _copy(self, draft: Path, wanted: Index, present: Index) -> dict[int, int]:
        """Copy the rows that are there already. Returns row → CRC-32."""
        rows = {name: row for row, name in enumerate(present.objects)}
        checks: dict[int, int] = {}
        size = wanted.row_bytes
        with draft.open("r+b") as new, (self.folder / present.file_name).open("rb") as old:
            for row, name in enumerate(wanted.objects):
                if name in rows:
                    os.pwrite(new.fileno(), os.pread(old.fileno(), size, rows[name] * size), row * size)
                    checks[row] = present.checks[rows[name]]
        return checks

    def _write_index(self, index: Index) -> None:
        draft = self.folder / "index.partial"
        try:
            with draft.open("wb") as file:
                file.write(digest(INDEX_LABEL, index) + pack(index))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / "index")
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # both renames are on disk before anybody relies on them
        finally:
            os.close(folder)

    def _clean(self, keep: Index | None) -> None:
        """Remove pixels that no index names: leftovers of a killed build, or of an older set of images."""
        for path in self.folder.glob("*"):
            stale = path.suffix == ".partial" or (path.suffix == ".f32" and (not keep or path.name != keep.file_name))
            if stale:
                path.unlink()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One build at a time: a second process waits and then finds the work done."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _telling(self, needed: int) -> Iterator[None]:
        """The disk's errors as one clear message."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                do = "Check the disk and its permissions, then run again."
                raise SiteError(f"image cache {self.folder}", got=error.strerror or str(error), do=do) from None
            free = shutil.disk_usage(self.folder).free
            raise SiteError(
                f"image cache {self.folder}",
                expected=f"room for {needed:,} bytes",
                got=f"{error.strerror} ({free:,} bytes free on this disk)",
                do="Free space, raise the quota, or move the home folder to a larger disk; nothing was left behind.",
            ) from None


def _compact(path: Path, rows: Sequence[int], size: int) -> None:
    """Close the gaps that images without pixels left, cut the file to its length, and sync it."""
    with path.open("r+b") as file:
        for place, row in enumerate(rows):
            if place != row:
                os.pwrite(file.fileno(), os.pread(file.fileno(), size, row * size), place * size)
        file.truncate(len(rows) * size)
        os.fsync(file.fileno())
