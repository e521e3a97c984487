"""One hospital's noise of one private step: the exact discrete sampler beside its limit and beside float noise.

CPU-nanoseconds per entry, one thread, the least of the repetitions, in each of which everything is run once, so that
what else the machine does falls on all alike. `release` is all that a step adds to its gradient: division by the grid,
rounding, clamping, noise, words. Beside it, out of one and the same cryptographic stream: the key stream that the noise
takes, by itself (the limit); one float normal by Box and Muller, which an attack reads (tests/client/privacy/
float_attack.py); and four of them summed, which Konsil used before. numpy's ziggurat, seeded and not cryptographic, is
there for scale. Memory: the most that `release` takes beyond its input, its result included.

    python benchmarks/noise.py [--entries 100000 1000000 10000000] [--repeat 5]
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from client.privacy.gaussian import CHUNK, digits, discrete_gaussian
from client.privacy.release import as_words, release
from client.privacy.stream import SecureStream, Words
from shared.mechanism import Mechanism

Float64 = NDArray[np.float64]


class Counted(SecureStream):
    """A stream that counts the bytes it gives."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def fill(self, words: Words) -> None:
        super().fill(words)
        self.given += words.nbytes


def box_muller(count: int, stream: SecureStream) -> Float64:
    """`count` float normals, a chunk at a time."""
    made = np.empty(count)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        pairs = (size + 1) // 2
        uniform = ((stream.words(2 * pairs) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        radius, angle = np.sqrt(-2.0 * np.log(uniform[:pairs])), 2.0 * np.pi * uniform[pairs:]
        made[start : start + size] = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]
    return made


def summed(count: int, stream: SecureStream) -> Float64:
    """Holohan and Braghin 2021 (arXiv 2107.10138): each the halved sum of four."""
    made = box_muller(count, stream)
    for _ in range(3):
        made += box_muller(count, stream)
    made /= 2
    return made


def key_stream(length: int, stream: SecureStream) -> None:
    """`length` bytes, into memory that stays in the cache."""
    buffer = np.empty(4 * CHUNK, np.uint8)
    for start in range(0, length, len(buffer)):
        stream.fill(buffer[: length - start])


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    started = time.process_time()
    action()
    return time.process_time() - started


def extra_bytes(action: Callable[[], object]) -> int:
    """The most memory that one run takes."""
    tracemalloc.start()
    action()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def measure(entries: int, repeat: int) -> None:
    mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=entries, honest=4, sites=6)
    stream, counted = SecureStream(), Counted()
    total, generator = np.linspace(-3, 3, entries), np.random.default_rng(0)
    discrete_gaussian(mechanism.deviation, entries, counted)  # and makes the tables
    runs: dict[str, Callable[[], object]] = {
        "release": lambda: as_words(release(total, mechanism, stream)),
        "of it the noise": lambda: discrete_gaussian(mechanism.deviation, entries, stream),
        "its key stream": lambda: key_stream(counted.given, stream),
        "Box-Muller, float": lambda: box_muller(entries, stream),
        "four of them summed": lambda: summed(entries, stream),
        "numpy, not secure": lambda: generator.standard_normal(entries),
    }
    least = {name: min(times) for name, times in _interleaved(runs, repeat).items()}
    print(
        f"\n{entries:,} entries: deviation {mechanism.deviation:,.0f}, {len(digits(mechanism.deviation)[1])} digits,"
        f" {counted.given / entries:.1f} random bytes an entry"
    )
    for name, taken in least.items():
        print(f"  {name:20} {taken / entries * 1e9:7.1f} ns an entry {taken * 1e3:9.2f} ms")
    extra = extra_bytes(runs["release"])
    beyond = max(0, extra - 12 * entries) / 2**20  # int64 integers, uint32 words
    print(f"  {'memory of release':20} {extra / entries:7.1f} bytes an entry, {beyond:.1f} MiB beyond its results")


def _interleaved(runs: dict[str, Callable[[], object]], repeat: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, action in runs.items():
            times[name].append(seconds(action))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    for entries in arguments.entries:
        measure(entries, arguments.repeat)


if __name__ == "__main__":
    main()
