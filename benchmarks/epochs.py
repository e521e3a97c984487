"""The image cache, measured: epochs from it against a bare memory map, what training waits for it, and filling it.

    .venv/bin/python benchmarks/epochs.py            # all three, about 3 minutes
    .venv/bin/python benchmarks/epochs.py gather     # or: wait, fill

Everything is made in a temporary folder. Rates are the best of several passes of this run, taken in turn; the ratios
are what to compare between machines. The maps are warm: what a disk gives is not measured.
"""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from slices import slice_of_ct
from torch.nn import functional as F

from client.dicom.cache import Cache, Cached
from client.dicom.crew import Limits, cores
from client.dicom.item import Item, Location, Part
from client.dicom.writing import write_object
from client.images import Images
from client.training.batches import gather
from shared.models.registry import build
from shared.study import Input, Model

Way = Callable[[NDArray[np.int64]], object]

BATCH = 16
PASSES = 7
#: Bytes of tensors in one cache.
BYTES = 400 << 20
STEPS = 12
#: Raw CT slices on disk, and how often each is decoded in one pass.
SLICES, TIMES = 240, 4
FILLS = 3


def spec_of(side: int) -> Input:
    return Input(modalities=("CT",), size=(side, side))


def noise(item: Item, spec: Input) -> NDArray[np.float32]:
    """A tensor without a file behind it."""
    return np.random.default_rng(int.from_bytes(item.name, "big")).random(spec.shape, np.float32)


def filled(root: Path, side: int) -> Cached:
    """A cache of noise, half of its rows another study's."""
    items = [Item(number.to_bytes(16, "big"), ()) for number in range(BYTES // (4 * side * side))]
    Cache(root, spec_of(side), decode=noise).build(items)
    return Cache(root, spec_of(side), decode=noise).build(items[::2])


def images_of(cached: Cached) -> Images:
    """Each image its own patient, all in training."""
    count = len(cached.rows)
    zeros, keys = np.zeros(count, np.int64), tuple(map(str.encode, map(str, range(count))))
    return Images(cached.pixels, zeros, np.arange(count), keys, zeros, cached.rows)


def batches(images: Images, count: int = BATCH) -> Iterator[NDArray[np.int64]]:
    """One epoch in random order."""
    order = np.random.default_rng(1).permutation(len(images.target))
    yield from (order[first : first + count] for first in range(0, len(order) - count + 1, count))


def gathers(root: Path) -> None:
    print(f"\nan epoch in batches of {BATCH}, warm{'':<24}images per second   share of a bare map")
    for side in (224, 512):
        images = images_of(filled(root, side))
        (path,) = root.glob(f"*/{4 * side * side}.rows")
        bare = np.memmap(path, np.float32, "r", shape=images.pixels.shape)
        generator = torch.Generator().manual_seed(1)

        def from_map(rows: NDArray[np.int64], bare: NDArray[np.float32] = bare) -> object:
            return bare[rows]

        def for_training(
            rows: NDArray[np.int64], images: Images = images, generator: torch.Generator = generator
        ) -> object:
            groups = [rows[i : i + 1] for i in range(len(rows))]
            device = torch.device("cpu")
            return gather(images, groups, copies=1, generator=generator, device=device)

        ways: dict[str, Way] = {
            "bare memory map": from_map,
            "konsil cache": images.tensors,
            "batches of training": for_training,
        }
        seconds = best_epochs(images, ways)
        for name, took in seconds.items():
            rate, share = len(images.target) / took, seconds["bare memory map"] / took
            print(f"  {side}² float32, {name:<40}{rate:>12,.0f}{share:>20.2f}")


def best_epochs(images: Images, ways: dict[str, Way]) -> dict[str, float]:
    """Seconds of an epoch by each of `ways`, the best of PASSES after one to warm up; taken in turn."""
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(PASSES + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            for rows in batches(images):
                way(rows)
            if turn:
                best[name] = min(best[name], time.perf_counter() - started)
    return best


def waits(root: Path) -> None:
    """Training a small network: what of each step is spent on getting its images."""
    torch.set_num_threads(1)
    images = images_of(filled(root, 224))
    net = build(Model(name="cnn"), channels=1, classes=2, size=(224, 224), seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    waited, whole = 0.0, 0.0
    for step, rows in enumerate(batches(images, 32)):
        if step > STEPS:
            break
        started = time.perf_counter()
        groups = [rows[i : i + 1] for i in range(len(rows))]
        batch = gather(images, groups, copies=1, generator=generator, device=torch.device("cpu"))
        got = time.perf_counter()
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(net(batch.images), batch.target))
        optimizer.step()
        if step:  # the first one warms up
            waited, whole = waited + got - started, whole + time.perf_counter() - started
    print(f"\ntraining cnn at 224², batch 32, one thread, {STEPS} steps")
    print(
        f"  a step {whole / STEPS * 1000:,.0f} ms, of which waiting for images {waited / STEPS * 1000:.2f} ms", end=""
    )
    print(f" = {waited / whole:.2%}")


def fills(root: Path) -> None:
    """The first pass over raw CT slices, by one process and by two, in turn."""
    items = written(root / "archive")
    print(f"\nfilling the cache, {len(items)} raw CT slices of 512², best of {FILLS}; {cores()} cores")
    print(f"{'':<18}start, s   then images per second   times one process   per CPU-second, start included")
    best = {1: Filled(0, 0, 0), 2: Filled(0, 0, 0)}
    for turn in range(2 * FILLS):
        processes = 1 + turn % 2
        found = filling(root / "cache", items, processes)
        best[processes] = max(best[processes], found, key=lambda each: each.rate)
    for processes, found in best.items():
        times = found.rate / best[1].rate
        print(f"  {processes} processes{found.start:>13.2f}{found.rate:>25,.0f}{times:>20.2f}{found.per_cpu:>34,.0f}")


@dataclass(frozen=True)
class Filled:
    """Seconds until the first image is there, images per second from there on, and per CPU-second of all."""

    start: float
    rate: float
    per_cpu: float


def filling(root: Path, items: list[Item], processes: int) -> Filled:
    seen: list[float] = []
    cpu, started = cpu_seconds(), time.perf_counter()
    cache = Cache(root, spec_of(512), limits=Limits(processes=processes))
    cache.build(items, lambda *_: seen.append(time.perf_counter()))
    per_cpu = len(items) / (cpu_seconds() - cpu)
    shutil.rmtree(root)
    return Filled(seen[0] - started, (len(seen) - 1) / (seen[-1] - seen[0]), per_cpu)


def written(folder: Path) -> list[Item]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    items: list[Item] = []
    for number in range(SLICES):
        dataset, path = slice_of_ct(number), folder / f"{number}.dcm"
        dataset.PixelData = rng.integers(0, 4096, (512, 512)).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        write_object(path, dataset)
        status = path.stat()
        stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        parts = (Part(Location(path), stamp),)
        items += (Item((TIMES * number + time).to_bytes(16, "big"), parts) for time in range(TIMES))
    return items


def cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Print the tables asked for."""
    parts = {"gather": gathers, "wait": waits, "fill": fills}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
