"""Decoded images on disk, mapped into memory: rows of one form, one file per canonical tensor, shared by all studies of
it; and masks, which are kept the same way.

Guarantees: an image is decoded once for a tensor, whichever study asks (rows are named by content); room for what is
missing is taken before any work, so a full disk, or a limit too small, is found at once; every row that is handed out
was verified in this build, by its checksum or by being decoded; what is torn, foreign or flipped is decoded again,
nothing else is. A build that was killed leaves nothing that a later one takes for whole, and what it had finished
stays. What was not wanted for longest is evicted, never what anybody has mapped. Nothing waits for the disk: what a
power cut takes fails its checksum.

    cached = Cache(home / "cache", study.input, limit_bytes=50 << 30).build(items)
    cached.pixels[cached.rows[:16]]  # float32 [16, *study.input.shape]
"""

import contextlib
import errno
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.dicom.caching.directory import State
from client.dicom.caching.form import Form, form_of
from client.dicom.caching.room import Room, locked
from client.dicom.caching.rows import Rows
from client.dicom.canonical import canonical
from client.dicom.crew import Limits
from client.dicom.decoding import Decode, Task, await_writers, decode_all
from client.dicom.item import Item
from client.dicom.reasons import Reason
from shared.errors import SiteError
from shared.files import folder_as_owner
from shared.study import Input

Progress = Callable[[int, int], None]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Cached:
    """`pixels` [R, *form.shape] of form.dtype, float32 of images, read-only and mapped, with rows of other studies
    among them; `rows` int64 [N]: row `rows[i]` is the item `names[i]`; `failures`: name → why it has none."""

    pixels: NDArray[Any]
    rows: NDArray[np.int64]
    names: tuple[bytes, ...]
    failures: Mapping[bytes, Reason]


class Cache:
    """The cache of a site in the folder `root`, for tensors of `spec`, or for rows of another `form` that `decode`
    makes of the same images; both are made if they are not there.

    `limit_bytes` holds for all tensors together; without it the disk is the limit. `limits` are of the processes that
    decode, `decode` is what they call, `clock` tells seconds since 1970.
    """

    def __init__(
        self,
        root: Path,
        spec: Input,
        *,
        limit_bytes: int | None = None,
        limits: Limits | None = None,
        decode: Decode = canonical,
        form: Form | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.form = form or form_of(spec)
        self.folder = root / self.form.name.hex()[:32]
        self.row_bytes = self.form.row_bytes
        self._spec, self._room = spec, Room(root, limit_bytes)
        self._limits, self._decode, self._clock = limits, decode, clock

    def build(self, items: Sequence[Item], progress: Progress | None = None) -> Cached:
        """Every item of `items`, in that order, without those that cannot be decoded.

        `progress(done, total)` counts decoded items. A second process waits, then finds the work done. Raises SiteError
        if there is no room or the disk cannot be used.
        """
        wanted = {item.name: item for item in items}
        needed = len(wanted) * self.row_bytes
        self._room.check(needed)
        with self._telling(needed):
            folder_as_owner(self.root)
            with locked(self.folder), Rows(self.folder, self.row_bytes) as rows:
                await_writers(rows.path)
                tasks = self._plan(rows, wanted)
                try:
                    failures = self._fill(rows, tasks, progress)
                finally:
                    self._trim(rows)
                return self._cached(rows, items, failures)

    def _plan(self, rows: Rows, wanted: Mapping[bytes, Item]) -> list[Task]:
        """Verify what is there, make room for what is missing, and say where it goes."""
        directory = rows.directory()
        present = directory.places(wanted)
        damaged = set(rows.damaged(directory, present.values()))
        whole = {name: row for name, row in present.items() if row not in damaged}
        missing = [item for name, item in wanted.items() if name not in whole]
        with locked(self.root), rows.alone() as alone:
            rows.give_up(damaged, alone=alone)
            rows.touch(directory, whole.values(), int(self._clock()))
            self._room.make(rows, set(whole.values()), len(missing), alone=alone)
            places = rows.vacant(len(missing), alone=alone)
            rows.reserve(places)
        return [Task(row, item) for row, item in zip(places, missing, strict=True)]

    def _fill(self, rows: Rows, tasks: Sequence[Task], progress: Progress | None) -> dict[bytes, Reason]:
        """Decode `tasks`, entering each as soon as it is whole. Returns those that failed."""
        names = {task.row: task.item.name for task in tasks}
        failures: dict[bytes, Reason] = {}
        done = 0

        def told(results: Mapping[int, int | Reason]) -> None:
            nonlocal done
            for row, result in results.items():
                if isinstance(result, Reason):
                    failures[names[row]] = result
                else:
                    rows.enter(row, names[row], int(self._clock()), result)
            done += len(results)
            if progress:
                progress(done, len(tasks))

        decode_all(rows.path, self._spec, tasks, told, decode=self._decode, form=self.form, limits=self._limits)
        return failures

    def _trim(self, rows: Rows) -> None:
        """Give back the room of what could not be decoded, if nobody looks."""
        directory = rows.directory()
        if len(directory.rows(State.HELD)) * self.row_bytes < rows.file_bytes:
            with locked(self.root), rows.alone() as alone:
                if alone:
                    rows.close_gaps(directory)

    def _cached(self, rows: Rows, items: Sequence[Item], failures: Mapping[bytes, Reason]) -> Cached:
        kept = tuple(item.name for item in items if item.name not in failures)
        places = rows.directory().places(kept)
        return Cached(
            pixels=rows.map(self.form.shape, self.form.dtype),
            rows=np.array([places[name] for name in kept], dtype=np.int64),
            names=kept,
            failures=failures,
        )

    @contextlib.contextmanager
    def _telling(self, needed: int) -> Iterator[None]:
        """The disk's errors as one clear message."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                do = "Check the disk and its permissions, then run again."
                raise SiteError(f"image cache {self.root}", got=error.strerror or str(error), do=do) from None
            free = shutil.disk_usage(self.root).free
            do = "Free space, raise the quota, or move the home folder to a larger disk; a tenth is left to others."
            raise SiteError(
                f"image cache {self.root}",
                expected=f"room for {needed:,} bytes",
                got=f"{error.strerror} ({free:,} bytes free on this disk)",
                do=do,
            ) from None
