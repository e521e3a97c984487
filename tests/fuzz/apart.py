"""Work in a process of its own, as client/dicom/crew.py runs decoders of C and C++: what ends it costs one input.

The process is forked once and does one input after the other; it holds at most `MEMORY` more than it began with, is
ended by an alarm after `HANG_S`, and ends with its parent.
"""

import faulthandler
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

HANG_S = 20
#: Bytes of address space, as `client.dicom.crew.Limits` has them.
MEMORY = 4 << 30


class Apart(Generic[T]):
    """A process that does `work`, the first that is asked for, on what it is given."""

    def __init__(self) -> None:
        self._running: tuple[BaseProcess, Connection] | None = None

    def __call__(self, work: Callable[[bytes], T], data: bytes) -> T | int:
        """What `work` made of `data`; the process' exit code, below 0 for a signal, if it died of it."""
        process, pipe = self._running = self._running or _started(work)
        try:
            pipe.send_bytes(data)
            answer: T = pipe.recv()
        except (EOFError, OSError):
            process.join()
            pipe.close()
            self._running = None
            return process.exitcode or 0
        return answer


def _started(work: Callable[[bytes], T]) -> tuple[BaseProcess, Connection]:
    ours, theirs = get_context("fork").Pipe()
    process = get_context("fork").Process(target=_serve, args=(theirs, ours, os.getpid(), work), daemon=True)
    process.start()
    theirs.close()  # so that its end is the end of the stream
    return process, ours


def _serve(pipe: Connection, other: Connection, parent: int, work: Callable[[bytes], T]) -> None:
    other.close()
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the libraries' own words
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit, (soft, hard) = pages * resource.getpagesize() + MEMORY, resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft == resource.RLIM_INFINITY else min(soft, limit), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        while not pipe.poll(2.0):
            if os.getppid() != parent:
                os._exit(0)
        data = pipe.recv_bytes()
        signal.alarm(HANG_S)
        answer = work(data)
        signal.alarm(0)
        pipe.send(answer)
