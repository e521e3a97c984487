"""Work spread over processes that may die: a task that crashes, hangs or eats memory costs itself only.

Guarantees: every task is answered once, with what its work returned, or None if it ended two processes (one may have
been ended from outside, for memory); what else lay in their hands is given to another. The processes are fresh, hold at
most as many bytes as `Limits` says above what they start with, use one thread each, write nothing to our terminal, and
end when we do. What comes back from them is bytes, never objects: a decoder that somebody took over cannot hand us a
pickle.

    start = partial(prepare, file)  # of a module; runs in each process and returns what does the tasks there
    for task, answer in spread(start, tasks, Limits()):
        ...
"""

import os
import resource
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import MisuseError, SiteError
from shared.workers import program_hidden

T = TypeVar("T")
#: Runs in a fresh process; what it returns does the tasks.
Start = Callable[[], Callable[[T], bytes]]

#: Tasks in a worker's hands: one that it does, one that it finds at once afterwards.
AHEAD = 2
#: Libraries that would take all cores in every process (DICOM.md §4).
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPJ_NUM_THREADS")
#: Bytes of an answer: who sends more is taken for dead.
LONGEST = 1 << 24
_ANSWER, _MISTAKE = b"\0", b"\1"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Limits:
    """Of a crew: `processes` at once; of each: `memory_bytes` of address space above what it starts with."""

    processes: int = field(default_factory=cores)
    memory_bytes: int = 4 << 30


def spread(
    start: Start[T], tasks: Sequence[T], limits: Limits, seconds: Callable[[T], float] = lambda _: 120.0
) -> Iterator[tuple[T, bytes | None]]:
    """Each task with its answer, as they come; None if it ended its process, or took longer than `seconds` says, twice.

    Raises SiteError if no process can be started, MisuseError for any other exception of the work: it is a mistake of
    ours, told by its type and place (its words may hold a name).
    """
    waiting = deque(_Given(task, max(1, round(seconds(task)))) for task in tasks)
    crew = dict[Any, _Worker]()
    try:
        while waiting or crew:
            while waiting and len(crew) < limits.processes:
                worker = _Worker(start, limits)
                crew[worker.connection] = worker
            for connection in wait(list(crew)):
                worker = crew[connection]
                for given, answer in worker.listen():
                    if answer is None and not given.again:
                        waiting.append(replace(given, again=True))
                    else:
                        yield given.task, answer
                if worker.alive:
                    worker.fill(waiting)
                else:
                    waiting.extendleft(reversed(worker.hands))
                if not worker.alive or not worker.hands:
                    del crew[connection]
                    worker.dismiss()
    finally:
        for worker in crew.values():
            worker.process.kill()
            worker.dismiss()


@dataclass(frozen=True)
class _Given:
    """A task, the time it has, and whether it ended a process already."""

    task: Any
    seconds: int
    again: bool = False


class _Worker:
    """One process and what lies in its `hands`, in the order in which it will answer."""

    def __init__(self, start: Start[Any], limits: Limits) -> None:
        self.connection, there = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(target=_serve, args=(there, limits.memory_bytes), daemon=True)
        with program_hidden():
            self.process.start()
        there.close()  # so that its end is the end of the stream
        self.hands = deque[_Given]()
        self.alive, self.ready = True, False
        self._send(start)

    def fill(self, waiting: deque[_Given]) -> None:
        """Give it of what is `waiting`."""
        while waiting and len(self.hands) < AHEAD:
            given = waiting.popleft()
            self.hands.append(given)
            self._send((given.seconds, given.task))

    def listen(self) -> Iterator[tuple[_Given, bytes | None]]:
        """The answer that has come, none if it only says that it is there; if it died, None for what it was at."""
        try:
            message = self.connection.recv_bytes(LONGEST)
        except (EOFError, OSError):
            self._died()
            yield self.hands.popleft(), None
            return
        if message[:1] == _MISTAKE:
            raise MisuseError("image decoding", expected="an image or a reason", got=message[1:].decode())
        if self.ready:
            yield self.hands.popleft(), message[1:]
        self.ready = True

    def _died(self) -> None:
        self.alive = False
        if not self.hands:
            do = "Check the limits of memory and processes on this machine."
            raise SiteError("image decoding", got="a process that ended at its start", do=do) from None

    def dismiss(self) -> None:
        """Let it end: it does when nothing more can come."""
        self.connection.close()
        self.process.join()

    def _send(self, message: object) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died: `listen` will find out
            self.connection.send(message)


def _serve(connection: Connection, memory_bytes: int) -> None:
    """A worker's life. Nothing is imported for the work before the libraries are told to use one thread."""
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    for ours in (1, 2):  # decoders write what they stumble over, and that may be a name
        os.dup2(os.open(os.devnull, os.O_WRONLY), ours)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is interrupted ends us
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, in C code too
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # whoever started us is gone
        work = connection.recv()()
        _limit_memory(memory_bytes)
        connection.send_bytes(_ANSWER)
        while True:
            seconds, task = connection.recv()
            signal.alarm(seconds)
            answer = _attempt(work, task)
            signal.alarm(0)
            connection.send_bytes(answer)


def _attempt(work: Callable[[Any], bytes], task: object) -> bytes:
    """The message about `task`. Without memory this process ends: it cannot be trusted with another."""
    try:
        return _ANSWER + work(task)
    except MemoryError:
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - raised again where we were started
        return _MISTAKE + place(error).encode()


def place(error: Exception) -> str:
    """Type and place of `error`, without its words."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


def _limit_memory(more: int) -> None:
    """At most `more` bytes of address space from here on, or what limit there is already; and no image of the memory,
    which holds a patient's, on the disk of whoever crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more
    soft = limit if soft == resource.RLIM_INFINITY else min(soft, limit)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
