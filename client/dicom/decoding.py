"""Many items decoded by a crew of processes into one file of rows.

Guarantees: an item that cannot be decoded costs itself only, even if its decoder crashes, hangs or eats memory
(client/dicom/crew.py); decoders that can crash never run in our process. Rows are written in place, never passed
between processes. A process that outlives us, killed as we were, holds a shared lock on `writers` beside the file for
as long as it may still write: whoever comes next waits for it (`await_writers`).

    >>> decode_all(file, spec, [Task(0, item)])
    {0: 3421780262}
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from client.dicom.caching.form import Form, form_of
from client.dicom.canonical import canonical
from client.dicom.crew import Limits, spread
from client.dicom.item import Item
from client.dicom.pixels.heap import keep_freed_memory
from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.header import read_header
from shared.errors import MisuseError
from shared.files import open_as_owner
from shared.study import Input

#: Files below which starting processes takes longer than decoding.
ALONE = 96
#: Time for one item, and for each of its files: the slowest decoder takes a second for the largest mammogram.
ITEM_S, PART_S = 120.0, 2.0

#: What a process says of a task: a kind, and the CRC-32 of the row, the place of the reason in its list, or the errno.
_ANSWER = struct.Struct("<BI")
_WRITTEN, _LEFT_OUT, _DISK = range(3)

#: An item → one row of the form that is asked for.
Decode = Callable[[Item, Input], NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """Decode `item` into row `row`."""

    row: int
    item: Item


def decode_all(
    file: Path,
    spec: Input,
    tasks: Sequence[Task],
    told: Callable[[Mapping[int, int | Reason]], None] | None = None,
    *,
    decode: Decode = canonical,
    form: Form | None = None,
    limits: Limits | None = None,
) -> dict[int, int | Reason]:
    """Decode `tasks` into the rows of `file`: row → CRC-32 of its bytes, or why it was not written.

    `told` gets each result as it comes. `decode` is a function of a module, and makes rows of `form`, by default that
    of the canonical tensor. Raises OSError if `file` cannot be written.
    """
    results: dict[int, int | Reason] = {}
    form = form or form_of(spec)
    limits = limits or Limits(memory_bytes=(4 << 30) + 8 * form.row_bytes)
    for task, answer in _answers(file, tasks, partial(_decode, form, spec, decode), limits):
        result = Reason.DECODE_FAILED if answer is None else _result(answer)
        results[task.row] = result
        if told:
            told({task.row: result})
    return results


def _answers(
    file: Path, tasks: Sequence[Task], write: Callable[[int, Task], bytes], limits: Limits
) -> Iterator[tuple[Task, bytes | None]]:
    if _here(tasks):
        with file.open("r+b", buffering=0) as rows:
            for task in tasks:
                yield task, write(rows.fileno(), task)
        return
    yield from spread(partial(_start, file, write), tasks, limits, _seconds)


def _result(answer: bytes) -> int | Reason:
    """What `_decode` said. Raises OSError for the disk's errors."""
    kind, value = _ANSWER.unpack(answer)
    if kind == _DISK:
        raise OSError(value, os.strerror(value))
    return int(value) if kind == _WRITTEN else tuple(Reason)[value]


def _seconds(task: Task) -> float:
    return ITEM_S + PART_S * len(task.item.parts)


def _here(tasks: Sequence[Task]) -> bool:
    """Whether they are few, and none can end this process."""
    return sum(len(task.item.parts) for task in tasks) < ALONE and not any(_may_crash(task.item) for task in tasks)


def _may_crash(item: Item) -> bool:
    """Whether a decoder is a C or C++ library: on hostile bytes they abort (GDCM) or worse."""
    if any(location.member for location in item.files):
        return True
    return any(_syntax_may_crash(location.path) for location in item.files)


def _syntax_may_crash(path: Path) -> bool:
    try:
        syntax = read_header(path).transfer_syntax
    except LeftOutError as left_out:
        return left_out.reason != Reason.NOT_DICOM or not _is_plain(path)
    return bool(DECODERS.get(syntax, "")) and syntax != RLELossless


def _is_plain(path: Path) -> bool:
    """Whether it is a PNG or NPZ file: a mask, of which nothing but zlib unfolds a byte."""
    with path.open("rb") as file:
        return file.read(8).startswith((b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"))


def _start(file: Path, write: Callable[[int, Task], bytes]) -> Callable[[Task], bytes]:
    """In a process of the crew: what decodes a task there. The lock is there before the first task is."""
    fcntl.flock(_writers(file), fcntl.LOCK_SH)  # until this process ends
    keep_freed_memory()
    return partial(write, os.open(file, os.O_WRONLY))


def await_writers(file: Path) -> None:
    """Wait until no process of an earlier crew can write to `file`: at most the time of one item."""
    lock = _writers(file)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(lock)


def _writers(file: Path) -> int:
    """A handle of the file that those who may write to `file` hold locked."""
    return open_as_owner(file.with_name("writers"), os.O_RDWR)


def _decode(form: Form, spec: Input, decode: Decode, rows: int, task: Task) -> bytes:
    """Decode `task` in this process into its row of the open file `rows`. Returns the answer."""
    try:
        pixels = decode(task.item, spec)
    except LeftOutError as left_out:
        return _ANSWER.pack(_LEFT_OUT, tuple(Reason).index(left_out.reason))
    if pixels.shape != form.shape or pixels.dtype != form.dtype:  # it would be written over its neighbours
        raise MisuseError("decoder", expected=f"{form.dtype} {form.shape}", got=f"{pixels.dtype} {pixels.shape}")
    data = np.ascontiguousarray(pixels).data.cast("B")
    try:
        write_all(rows, data, task.row * len(data))
    except OSError as error:
        return _ANSWER.pack(_DISK, error.errno)
    return _ANSWER.pack(_WRITTEN, zlib.crc32(data))


def write_all(file: int, data: bytes | bytearray | memoryview, start: int) -> None:
    """All of `data` at byte `start` of the open `file`: one call of the system writes 2 GB at most."""
    view, done = memoryview(data), 0
    while done < len(view):
        done += os.pwrite(file, view[done:], start + done)
