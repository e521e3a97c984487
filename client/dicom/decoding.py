"""Many images decoded by two processes into one file of rows.

Guarantees: an image that cannot be decoded costs itself only, even if its decoder crashes the process (what was in
that worker's hands is then decoded again, one image per process; decoders that can crash never run in ours); rows are
written in place, never passed between processes. Works under any start method: workers are spawned and import nothing
but this room.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from client.dicom.pixels.image import read_image
from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.header import read_header
from shared.study import Input
from shared.workers import pool

PROCESSES = 2
#: Images handed to a worker at once, and the number below which starting workers takes longer than decoding.
CHUNK = 16
ALONE = 96


@dataclass(frozen=True)
class Task:
    """Decode the file at `path`, if its size, time of change and inode are still `stamp`, into row `row`."""

    row: int
    path: Path
    stamp: tuple[int, int, int]


@dataclass
class Outcome:
    """`checks`: row → CRC-32 of its bytes; `failures`: row → why it was not written."""

    checks: dict[int, int] = field(default_factory=dict)
    failures: dict[int, Reason] = field(default_factory=dict)

    def add(self, results: Mapping[int, int | Reason]) -> None:
        """Take in what `decode_some` returned."""
        for row, result in results.items():
            if isinstance(result, Reason):
                self.failures[row] = result
            else:
                self.checks[row] = result

    def __len__(self) -> int:
        return len(self.checks) + len(self.failures)


def decode_all(
    file: Path, spec: Input, tasks: Sequence[Task], progress: Callable[[int, int], None] | None = None
) -> Outcome:
    """Decode `tasks` into the rows of `file`. Raises OSError if `file` cannot be written."""
    outcome = Outcome()
    chunks = [tasks[first : first + CHUNK] for first in range(0, len(tasks), CHUNK)]
    work = partial(decode_some, file, spec)
    if len(tasks) < ALONE and not any(map(_may_crash, tasks)):
        results: Iterable[Mapping[int, int | Reason]] = map(work, chunks)
    else:
        results = _in_processes(work, chunks)
    for result in results:
        outcome.add(result)
        if progress:
            progress(len(outcome), len(tasks))
    return outcome


def _may_crash(task: Task) -> bool:
    """Whether the file's decoder is a C or C++ library: on hostile bytes they abort (GDCM) or worse."""
    try:
        syntax = read_header(task.path).transfer_syntax
    except LeftOutError:
        return True
    return bool(DECODERS.get(syntax, "")) and syntax != RLELossless


Work = Callable[[Sequence[Task]], Mapping[int, int | Reason]]


def _in_processes(work: Work, chunks: Sequence[Sequence[Task]]) -> Iterable[Mapping[int, int | Reason]]:
    """Results as they come. Chunks that a crashing worker took with it are done again, image by image."""
    lost = list[Sequence[Task]]()
    with pool(min(PROCESSES, len(chunks))) as executor:
        futures = {executor.submit(work, chunk): chunk for chunk in chunks}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                lost.append(futures[future])
    for chunk in lost:
        for task in chunk:
            with pool(1) as executor:
                try:
                    yield executor.submit(work, (task,)).result()
                except BrokenProcessPool:
                    yield {task.row: Reason.DECODE_FAILED}


def decode_some(file: Path, spec: Input, tasks: Sequence[Task]) -> dict[int, int | Reason]:
    """Decode `tasks` in this process into the rows of `file`: row → CRC-32 or reason."""
    results: dict[int, int | Reason] = {}
    descriptor = os.open(file, os.O_WRONLY)
    try:
        for task in tasks:
            try:
                pixels = _decode(task, spec)
            except LeftOutError as left_out:
                results[task.row] = left_out.reason
                continue
            data = pixels.tobytes()
            os.pwrite(descriptor, data, task.row * len(data))
            results[task.row] = zlib.crc32(data)
    finally:
        os.close(descriptor)
    return results


def _decode(task: Task, spec: Input) -> NDArray[np.float32]:
    """float32 [C, H, W], contiguous. Raises LeftOutError."""
    try:
        status = task.path.stat()
    except OSError:
        raise LeftOutError(Reason.UNREADABLE) from None
    if (status.st_size, status.st_mtime_ns, status.st_ino) != task.stamp:
        raise LeftOutError(Reason.CHANGED)
    return read_image(task.path, spec)
