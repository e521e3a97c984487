"""Hostile inputs for every decoder that reads bytes from outside: clear errors, bounded time and memory, no crash.

    python benchmarks/fuzz.py [--inputs 1000000] [--target NAME]... [--seed 1] [--workers 2] [--atheris]

Each worker is a process of its own: an input that kills or hangs it is found and told like any other. The figures are
processor time and the largest resident memory above what the process held before; `ended` counts inputs that ended a
process made for that (tests/fuzz/apart.py). Exit 1 if a decoder did wrong; the
shortest input that did it is printed in hex. The same seed gives the same inputs.

With --atheris the inputs are chosen by the coverage they reach, if that package is there (it is no dependency).
"""

import argparse
import contextlib
import itertools
import json
import mmap
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.engine import Decoder, Fault, Tally, Target, fuzz, inputs, shorter
from tests.fuzz.mutations import LONGEST, Mutator
from tests.fuzz.targets import targets

#: Inputs of one job: few enough that the bar moves, many enough that making the decoder does not count.
JOB = 1000
#: Seconds after which an input counts as a hang.
HANG_S = 30.0
#: Address space that a worker may grow by; beyond it an allocation fails, as it would on a small machine.
GROWTH = 3 << 30
#: Characters of hex that are printed; the whole is in the file of --out.
SHOWN_HEX = 400
#: Columns of the table.
WIDTH = 130


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
    with Path(path).open("r+b") as file, tempfile.TemporaryDirectory(dir=_memory()) as folder:
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


def _memory() -> str | None:
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
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
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


def table_of(run: Run) -> Table:
    """One line per target, and the sum; the record classes together."""
    found = Table(
        "target",
        "inputs",
        "inputs/s",
        "decoded",
        "refused",
        "ended",
        "slowest",
        "peak",
        "faults",
        title=f"seed {run.seed}",
    )
    for column in found.columns[1:]:
        column.justify = "right"
    records, others, whole = Tally(), list[tuple[str, Tally]](), Tally()
    for name, tally in run.tallies.items():
        whole.add(tally)
        if name.startswith("record "):
            records.add(tally)
        else:
            others.append((name, tally))
    classes = sum(name.startswith("record ") for name in run.tallies)
    lines = [(f"{classes} record classes", records)] * bool(classes)
    for name, tally in (*lines, *sorted(others), ("all", whole)):
        found.add_row(
            name,
            f"{tally.inputs:,}",
            f"{tally.inputs / max(tally.seconds, 1e-9):,.0f}",
            f"{tally.decoded:,}",
            f"{tally.refused:,}",
            f"{tally.ended:,}",
            f"{1000 * tally.slowest_s:,.0f} ms",
            f"{tally.peak_mb:,.0f} MB",
            str(len(tally.faults)),
        )
    return found


def faults_of(run: Run) -> list[dict[str, Any]]:
    """What was found, as JSON would have it."""
    return [
        {"target": name, "kind": fault.kind, "place": fault.place, "hex": fault.data.hex(), "detail": fault.detail}
        for name, tally in sorted(run.tallies.items())
        for fault in tally.faults.values()
    ]


def atheris(chosen: Sequence[Target], total: int, seed: int) -> int:
    """Each target in a process of its own, under libFuzzer; the worst exit status."""
    worst, shares = 0, sum(target.share for target in chosen)
    for target in chosen:
        runs = max(1, round(total * target.share / shares))
        command = [sys.executable, __file__, "--guided", target.name, "--inputs", str(runs), "--seed", str(seed)]
        worst = max(worst, abs(subprocess.run(command, check=False).returncode))
    return min(worst, 1)


def guided(name: str, runs: int, seed: int) -> None:
    """This process under libFuzzer: it ends with it."""
    import atheris as guide  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    with tempfile.TemporaryDirectory(dir=_memory()) as folder, contextlib.ExitStack() as stack:
        corpus = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for module in [
            module for name_, module in sys.modules.items() if name_.split(".")[0] in ("client", "server", "shared")
        ]:
            for thing in vars(module).values():
                if (
                    callable(thing)
                    and getattr(thing, "__module__", "") == module.__name__
                    and hasattr(thing, "__code__")
                ):
                    guide.instrument_func(thing)
        decoder = targets()[name].make(Path(folder))
        for number, data in enumerate(decoder.seeds):
            (corpus / str(number)).write_bytes(data)
        mutate = Mutator(decoder.seeds, decoder.grammar, decoder.tokens)

        def one(data: bytes) -> None:
            with contextlib.suppress(*decoder.allowed):
                decoder.read(data)

        def varied(data: bytes, most: int, number: int) -> bytes:
            if number % 2:
                return bytes(guide.Mutate(data, most))
            return mutate(Random(f"{seed} {number}"))[:most]  # noqa: S311  hostile, not secret

        options = [
            sys.argv[0],
            f"-runs={runs}",
            f"-seed={seed}",
            "-max_len=65536",
            "-timeout=30",
            "-verbosity=0",
            str(corpus),
        ]
        guide.Setup(options, one, custom_mutator=varied)
        print(f"{name}: {runs} inputs by coverage", flush=True)
        guide.Fuzz()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--target", action="append", default=[], help="part of a target's name; again for more")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="also write the faults there, as JSON")
    parser.add_argument("--list", action="store_true", help="the targets, and what they cover")
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; needs the package atheris")
    parser.add_argument("--guided", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = _options()
    every = targets()
    chosen = [t for t in every.values() if not options.target or any(part in t.name for part in options.target)]
    if options.guided:
        guided(options.guided, options.inputs, options.seed)
        return 0
    if options.list or not chosen:
        print("\n".join(f"{target.name}: {', '.join(target.covers)}" for target in every.values()))
        return 0 if options.list else 2
    if options.atheris:
        return atheris(chosen, options.inputs, options.seed)
    console, run, jobs = Console(width=WIDTH), Run(options.seed), planned(chosen, options.inputs)
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=sum(job.count for job in jobs))
        conduct(run, jobs, options.workers, lambda name, count: bar.update(task, description=name[:32], advance=count))
    console.print(table_of(run))
    faults = faults_of(run)
    for fault in faults:
        console.print(f"{fault['target']}: {fault['kind']} {fault['place']}", style="bold red", markup=False)
        console.print(fault["detail"], markup=False, highlight=False)
        console.print(
            f"hex: {fault['hex'][:SHOWN_HEX]}{'…' * (len(fault['hex']) > SHOWN_HEX)}", markup=False, highlight=False
        )
    if options.out is not None:
        options.out.write_text(json.dumps(faults, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
