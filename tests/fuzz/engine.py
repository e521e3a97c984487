"""One decoder under hostile inputs: what it may do, what it did, and the shortest input that makes it do wrong.

A decoder may return, or raise a KonsilError (or what its docstring says: `Decoder.allowed`); anything else is a
`Fault`: another exception, more than `Decoder.slow_s` of processor time, or more than `Decoder.extra_mb` of memory for
one input. A decoder that is run `apart` may end its process, as a C library's does: that input is counted as `ended`,
unless it took longer than an alarm allows, or the system ended it for its memory.
"""

import os
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import BinaryIO, Literal

from shared.errors import KonsilError
from tests.fuzz.apart import HANG_S, Apart
from tests.fuzz.mutations import Grammar, Mutator

#: Tries to make an offending input shorter.
SHORTENINGS = 400


@dataclass(frozen=True)
class Decoder:
    """`read` is what is tried; `seeds` are valid encodings by the real encoders, `tokens` words of the format; `apart`:
    the process to run it in, None for this one."""

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    grammar: Grammar
    tokens: Sequence[bytes] = ()
    allowed: tuple[type[Exception], ...] = (KonsilError,)
    extra_mb: float = 64.0
    slow_s: float = 1.0
    apart: "Apart[Seen] | None" = None


@dataclass(frozen=True)
class Target:
    """A decoder by name. `share`: its part of all inputs, fewer where an input costs more. `covers`: source files whose
    decoders it runs."""

    name: str
    make: Callable[[Path], Decoder]
    share: float
    covers: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """`kind` and the `place` where it happened; the `data` that did it; `detail` for whoever repairs it."""

    kind: Literal["exception", "slow", "memory", "crash", "hang"]
    place: str
    data: bytes
    detail: str


@dataclass
class Tally:
    """What came of some inputs; `peak_mb` above what the process held before them."""

    inputs: int = 0
    decoded: int = 0
    refused: int = 0
    ended: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Take in another's figures."""
        self.inputs += other.inputs
        self.decoded += other.decoded
        self.refused += other.refused
        self.ended += other.ended
        self.seconds += other.seconds
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        for key, fault in other.faults.items():
            if key not in self.faults or len(fault.data) < len(self.faults[key].data):
                self.faults[key] = fault


@dataclass(frozen=True)
class Seen:
    """One input's outcome."""

    outcome: Literal["decoded", "refused", "ended", "fault"]
    seconds: float
    extra_mb: float
    fault: Fault | None = None


def inputs(decoder: Decoder, name: str, seed: int, first: int, count: int) -> Iterator[bytes]:
    """Inputs number `first` and on: each depends on the name, the seed and its own number alone."""
    mutate = Mutator(decoder.seeds, decoder.grammar, decoder.tokens)
    for number in range(first, first + count):
        yield mutate(Random(f"{name} {seed} {number}"))  # noqa: S311  hostile, not secret


def fuzz(decoder: Decoder, data: Iterator[bytes], *, before: Callable[[bytes], None] | None = None) -> Tally:
    """Try all of `data`; `before` sees each input first, so that it outlives a crash."""
    tally = Tally()
    for one in data:
        if before is not None:
            before(one)
        seen = attempt(decoder, one)
        tally.inputs += 1
        tally.decoded += seen.outcome == "decoded"
        tally.refused += seen.outcome == "refused"
        tally.ended += seen.outcome == "ended"
        tally.seconds += seen.seconds
        tally.slowest_s, tally.peak_mb = max(tally.slowest_s, seen.seconds), max(tally.peak_mb, seen.extra_mb)
        if seen.fault is not None and (seen.fault.kind, seen.fault.place) not in tally.faults:
            tally.faults[seen.fault.kind, seen.fault.place] = shortened(decoder, seen.fault)
    return tally


def attempt(decoder: Decoder, data: bytes) -> Seen:
    """One input."""
    if decoder.apart is None:
        return _attempt(decoder, data)
    seen = decoder.apart(lambda one: _attempt(decoder, one), data)
    if isinstance(seen, Seen):
        return seen
    if seen == -signal.SIGALRM:
        return Seen("fault", HANG_S, 0.0, Fault("hang", "", data, f"more than {HANG_S} s"))
    if seen >= 0 or seen == -signal.SIGKILL:
        return Seen("fault", 0.0, 0.0, Fault("crash", "", data, f"exit code {seen}"))
    return Seen("ended", 0.0, 0.0)


def _attempt(decoder: Decoder, data: bytes) -> Seen:
    fault, outcome = None, "decoded"
    held = _peak_from_now()
    started = time.process_time()
    try:
        decoder.read(data)
    except decoder.allowed:
        outcome = "refused"
    except BaseException as error:  # a panic of a Rust library is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        fault = Fault("exception", _place(error), data, _detail(error))
    seconds = time.process_time() - started
    extra = (_peak() - held) * 1024 / 1e6
    if fault is None and seconds > decoder.slow_s:
        fault = Fault("slow", "", data, f"{seconds:.1f} s of processor time")
    if fault is None and extra > decoder.extra_mb:
        fault = Fault("memory", "", data, f"{extra:.0f} MB more than before")
    if fault is not None:
        return Seen("fault", seconds, extra, fault)
    return Seen("refused" if outcome == "refused" else "decoded", seconds, extra)


def shortened(decoder: Decoder, fault: Fault) -> Fault:
    """`fault` by a shorter input that does the same."""

    def same(data: bytes) -> bool:
        found = attempt(decoder, data).fault
        return found is not None and (found.kind, found.place) == (fault.kind, fault.place)

    tries = {"exception": SHORTENINGS, "memory": 12, "slow": round(12 / decoder.slow_s)}.get(fault.kind, 0)
    data = shorter(fault.data, same, tries)
    return Fault(fault.kind, fault.place, data, fault.detail)


def shorter(data: bytes, same: Callable[[bytes], bool], tries: int) -> bytes:
    """A shorter input for which `same` still holds: pieces are left out while it does (Zeller's ddmin, simplified)."""
    size = max(1, len(data) // 2)
    while tries > 0 and data:
        at, found = 0, False
        while at < len(data) and tries > 0:
            candidate, tries = data[:at] + data[at + size :], tries - 1
            if same(candidate):
                data, found = candidate, True
            else:
                at += size
        if size == 1 and not found:
            break
        size = max(1, min(size // 2, len(data)))
    return data


def _peak() -> int:
    """The largest resident memory, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peak_from_now() -> int:
    """Begin to count it anew (proc(5), clear_refs); what it is now."""
    with suppress(OSError):
        _clear_refs(os.getpid()).write(b"5")
    return _peak()


@cache
def _clear_refs(process: int) -> BinaryIO:
    return Path(f"/proc/{process}/clear_refs").open("wb", buffering=0)


def _place(error: BaseException) -> str:
    """The type of `error` and the last line of ours that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and _OURS.search(frame.filename)]
    where = (own or frames)[-1]
    return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"


def _detail(error: BaseException) -> str:
    lines = traceback.format_exception(error, limit=-6, chain=False)
    return "".join(lines)[-1500:]


_OURS = re.compile(r"/(client|server|shared)/")
