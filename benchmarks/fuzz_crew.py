"""The processes of fuzz.py: jobs in, tallies out; an input that kills or hangs its process is found like any other."""

import contextlib
import itertools
import mmap
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

import torch

from tests.fuzz.engine import Decoder, Fault, Tally, Target, fuzz, inputs, shorter
from tests.fuzz.mutations import LONGEST
from tests.fuzz.targets import targets

#: Inputs of one job: few enough that the bar moves, many enough that making the decoder does not count.
JOB = 1000
#: Seconds after which an input counts as a hang.
HANG_S = 30.0
#: Address space that a worker may grow by; beyond it an allocation fails, as it would on a small machine.
GROWTH = 3 << 30


@dataclass(frozen=True)
class Job:
    """Inputs `first` to `first + count` of one target."""

    target: str
    first: int
    count: int


@dataclass
class Worker:
    """A process, what it was given, and the page where it writes each input before trying it."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    page: mmap.mmap
    job: Job | None = None
    #: the input at hand, as last seen, and since when
    number: int = -1
    since: float = 0.0


@dataclass
class Run:
    """What was asked for, and what came of it."""

    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)


def planned(chosen: Sequence[Target], total: int) -> list[Job]:
    """`total` inputs by the targets' shares, in jobs, the targets with the costliest inputs first."""
    shares, jobs, left = sum(target.share for target in chosen), list[Job](), total
    for place, target in enumerate(sorted(chosen, key=lambda one: one.share)):
        count = left if place == len(chosen) - 1 else min(left, max(1, round(total * target.share / shares)))
        left -= count
        jobs += [Job(target.name, first, min(JOB, count - first)) for first in range(0, count, JOB)]
    return jobs


def work(pipe: Connection, path: str, seed: int) -> None:
    """A worker's life: jobs in, tallies out, or the words of an error of the trial itself."""
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C libraries say of what they read
    torch.set_num_threads(1)
    with Path(path).open("r+b") as file, tempfile.TemporaryDirectory(dir=memory()) as folder:
        page, decoders = mmap.mmap(file.fileno(), 0), dict[str, Decoder]()
        numbers = itertools.count(1)

        def before(data: bytes) -> None:
            page[16 : 16 + len(data)] = data
            page[0:16] = next(numbers).to_bytes(8, "big") + len(data).to_bytes(8, "big")

        while (job := pipe.recv()) is not None:
            try:
                if job.target not in decoders:
                    decoders[job.target] = _made(job.target, Path(folder) / str(len(decoders)))
                decoder = decoders[job.target]
                tally = fuzz(decoder, inputs(decoder, job.target, seed, job.first, job.count), before=before)
            except Exception:  # noqa: BLE001
                pipe.send(f"{job.target}: {traceback.format_exc()}")
                return
            page[0:16] = bytes(16)
            pipe.send(tally)


def _made(name: str, folder: Path) -> Decoder:
    folder.mkdir()
    decoder = targets()[name].make(folder)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + GROWTH, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return decoder


def memory() -> str | None:
    """Where files cost no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def start(seed: int, folder: Path, number: int) -> Worker:
    """A new worker."""
    path = folder / f"{number}-{time.monotonic_ns()}"
    path.write_bytes(bytes(16 + LONGEST))
    with path.open("r+b") as file:
        page = mmap.mmap(file.fileno(), 0)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, str(path), seed), daemon=False)
    process.start()
    theirs.close()
    return Worker(process, ours, page)


def conduct(run: Run, jobs: Sequence[Job], workers: int, told: Callable[[str, int], None]) -> None:
    """All `jobs`; `told` hears of every job done: its target and how many inputs."""
    waiting = list(reversed(jobs))
    with tempfile.TemporaryDirectory() as folder:
        crew = [start(run.seed, Path(folder), number) for number in range(min(workers, len(jobs)))]
        try:
            while waiting or any(worker.job for worker in crew):
                for worker in crew:
                    if worker.job is None and waiting:
                        worker.job, worker.since = waiting.pop(), time.monotonic()
                        worker.pipe.send(worker.job)
                ready = wait([worker.pipe for worker in crew], timeout=0.5)
                for number, worker in enumerate(crew):
                    if worker.job is None:
                        continue
                    job = worker.job
                    tally = _answer(worker, job, run.seed) if worker.pipe in ready else _hung(worker, job, run.seed)
                    if tally is None:
                        continue
                    run.tallies.setdefault(job.target, Tally()).add(tally)
                    told(job.target, tally.inputs)
                    rest = Job(job.target, job.first + tally.inputs, job.count - tally.inputs)
                    worker.job = None
                    if not worker.process.is_alive():
                        crew[number] = start(run.seed, Path(folder), number)
                    if rest.count:
                        waiting.append(rest)
        finally:
            for worker in crew:
                with contextlib.suppress(OSError):
                    worker.pipe.send(None)
                worker.process.join(10)
                worker.process.kill()


def _answer(worker: Worker, job: Job, seed: int) -> Tally:
    """What the worker found; if it died, what it died of."""
    try:
        found = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return _epitaph(worker, job, seed, "crash")
    if isinstance(found, str):  # not the decoder but the trial itself is broken
        raise SystemExit(found)
    tally: Tally = found
    return tally


def _hung(worker: Worker, job: Job, seed: int) -> Tally | None:
    """The end of a worker that is stuck in one input; None for one that gets on."""
    number = int.from_bytes(worker.page[0:8], "big")
    if number != worker.number or not number:
        worker.number, worker.since = number, time.monotonic()
    if time.monotonic() - worker.since < HANG_S:
        return None
    worker.process.kill()
    worker.process.join()
    return _epitaph(worker, job, seed, "hang")


def _epitaph(worker: Worker, job: Job, seed: int, kind: Literal["crash", "hang"]) -> Tally:
    """The inputs up to the one that the worker died of, and that one as a fault, shortened where it kills at once."""
    data = worker.page[16 : 16 + int.from_bytes(worker.page[8:16], "big")]
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        decoder = targets()[job.target].make(Path(folder))
        every = list(inputs(decoder, job.target, seed, job.first, job.count))
        shortest = shorter(data, lambda one: _dies(decoder, one), 200) if kind == "crash" else data
    fault = Fault(kind, job.target, shortest, f"exit code {worker.process.exitcode}")
    done = every.index(data) + 1 if data in every else job.count
    return Tally(inputs=done, faults={(kind, job.target): fault})


def _dies(decoder: Decoder, data: bytes) -> bool:
    """Whether `data` kills a process."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            decoder.read(data)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
