"""One private step against a plain one of the same images: time and memory, for every way of taking the gradients.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/private_step.py                # all, about 10 minutes
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/private_step.py cnn            # or: densenet121, memory

Plain: forward, backward and SGD on all images as one batch. Private: chunks from the image store, one gradient per
patient, clipping, the float64 sum, and the noise. CPU seconds, the median over rounds in each of which every step is
made once, so that what else the machine does falls on all alike. Memory: a process of its own for each, what its peak
adds to the same process before the first step.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from memory import peak_mb
from torch import Generator, Tensor

from client.images import Images
from client.privacy.release import release
from client.privacy.stream import SecureStream
from client.training.batches import gather
from client.training.gradients.base import PatientGradients
from client.training.gradients.choose import WAYS
from client.training.gradients.chunks import chunks
from client.training.gradients.clip import zeros
from client.training.gradients.precision import Precise
from shared.mechanism import Mechanism
from shared.models.layers import Output
from shared.models.registry import build
from shared.study import Model

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """`patients` with `each` images of `side` pixels; a chunk has `at_once` images."""

    model: str
    side: int
    patients: int
    each: int
    at_once: int

    def __str__(self) -> str:
        return f"{self.model} {self.side}, {self.patients} × {self.each}"


CASES = [
    Case("cnn", 64, 32, 1, 32),
    Case("cnn", 64, 8, 4, 32),
    Case("cnn", 128, 32, 1, 32),
    Case("densenet121", 64, 32, 1, 32),
    Case("densenet121", 64, 32, 1, 16),
    Case("densenet121", 64, 8, 4, 32),
]


class Steps:
    """Both steps on the same images."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.net = build(Model(name=case.model), channels=1, classes=2, size=(case.side, case.side), seed=0)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-6)
        count, random = case.patients * case.each, np.random.default_rng(0)
        pixels = random.random((count, 1, case.side, case.side), np.float32)
        owner = np.repeat(np.arange(case.patients), case.each)
        keys = tuple(b"%d" % patient for patient in range(case.patients))
        self.images = Images(pixels, random.integers(0, 2, count), owner, keys, np.zeros(case.patients, np.int64))
        self.groups = np.split(np.arange(count), case.patients)
        self.stream = SecureStream()
        entries = sum(p.numel() for p in self.net.parameters())
        self.mechanism = Mechanism(clip=1.0, noise_multiplier=1.0, entries=entries, honest=2, sites=3)

    def plain(self) -> None:
        """Forward, backward, SGD."""
        batch = gather(
            self.images, self.groups, copies=1, generator=Generator(), device=CPU,
            images_per_patient=self.case.each,
        )  # fmt: skip
        self.optimizer.zero_grad()
        torch.autograd.backward(loss(self.net(batch.images), batch.target).mean())
        self.optimizer.step()

    def private(self, way: PatientGradients) -> Tensor:
        """The clipped sum, float64 [d]."""
        total = zeros(self.net, CPU)
        for patients in chunks(
            self.images, self.groups, at_once=self.case.at_once, images_per_patient=self.case.each, copies=1,
            words=range(len(self.groups)), device=CPU, given=lambda i, t, _: (i, t),
        ):  # fmt: skip
            total += way.clipped_sum(self.net, loss, patients, 1.0).total
        return total

    def noisy(self, way: PatientGradients) -> None:
        """The same with its noise: what leaves a site but for the mask."""
        release(self.private(way).numpy(), self.mechanism, self.stream)

    def kinds(self, ways: Sequence[PatientGradients]) -> dict[str, Callable[[], object]]:
        """By name."""
        found: dict[str, Callable[[], object]] = {"plain": self.plain}
        for way in (way for way in ways if way.fits(self.net)):
            found[way.name] = lambda way=way: self.private(way)  # type: ignore[misc]
        found[f"{ways[0].name}, noise"] = lambda: self.noisy(ways[0])
        return found


def loss(output: Tensor | Output, label: Tensor) -> Tensor:
    if isinstance(output, Output):
        raise TypeError(output)
    return F.cross_entropy(output, label, reduction="none")


def medians(kinds: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each, once per round, the first round not counted."""
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds + 1):
        for name, step in kinds.items():
            started = time.process_time()
            step()
            taken[name].append(time.process_time() - started)
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def peaks(case: Case, kinds: Sequence[str]) -> dict[str, float]:
    """MB that steps of each kind add, each kind in a process of its own."""
    found = {}
    for kind in kinds:
        command = [sys.executable, __file__, "--one", str(CASES.index(case)), kind]
        found[kind] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def one(case: Case, kind: str) -> None:
    """Print what three steps add to the memory of this process, MB."""
    step = Steps(case).kinds([Precise(way, "float32") for way in WAYS])[kind]
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here (proc(5))
    before = peak_mb(os.getpid())
    for _ in range(3):
        step()
    print(peak_mb(os.getpid()) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["cnn", "densenet121", "memory"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ways", nargs="*", default=[way.name for way in WAYS])
    parser.add_argument("--one", nargs=2, metavar=("CASE", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(CASES[int(options.one[0])], options.one[1])
        return
    ways = [Precise(way, "float32") for way in WAYS if way.name in options.ways]
    for case in (case for case in CASES if case.model in options.what):
        found = medians(Steps(case).kinds(ways), options.rounds)
        print(f"{case}, {case.at_once} images at once", flush=True)
        for name, seconds in found.items():
            print(f"    {name:22}{1e3 * seconds:9.1f} ms{seconds / found['plain']:7.2f} ×", flush=True)
    for case in CASES if "memory" in options.what else []:
        found = peaks(case, ["plain", ways[0].name])
        print(f"{case}, {case.at_once} images at once, peak memory of the steps")
        for name, size in found.items():
            print(f"    {name:22}{size:9.1f} MB{size / found['plain']:7.2f} ×", flush=True)


if __name__ == "__main__":
    main()
