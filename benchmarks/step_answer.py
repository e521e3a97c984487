"""How long an agent takes to answer one step of mode "distributed", and how much of it is not the gradient.

    python benchmarks/step_answer.py [--steps 12]

Three real hospitals on disk (synthetic radiographs), the real bytes of plan, confirm and unmask in active mode. For
models of several sizes: the median of what one hospital takes for a whole step, of its per-patient gradients in it, and
of the difference: reading plan and weights, charging the ledger on disk, noise, masks, shares, signatures, storing.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from client.site import Site
from client.training.private import Bench
from shared.layout import layout_for
from shared.study import Study, parse_study
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation

STUDY = """
name = "answer"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [32, 32]
[model]
name = "cnn"
[training]
rounds = 4
batch = 30
local_steps = 1
learning_rate = 0.1
[federation]
min_sites = 3
timeout_s = 120.0
[privacy]
mode = "distributed"
epsilon = 8.0
delta = 1e-5
clip = 1.0
sampling_rate = 0.2
[evaluation]
every = 1000
"""
NAMES = ("alder", "birch", "cedar")
#: width of the first block and of the hidden layer: 0.02, 0.4, 1.6 and 10 million weights
SIZES = ((16, 0), (72, 0), (144, 0), (256, 3500))


class Watch:
    """Seconds of each step's gradients and of each whole step, of one hospital."""

    def __init__(self) -> None:
        self.gradients: list[float] = []
        self.answers: list[float] = []

    @contextmanager
    def on(self, site: Site) -> Iterator[None]:
        summed, handle = Bench._sum, site.handle

        def timed_sum(bench: Bench, *arguments: object) -> object:
            started = time.perf_counter()
            found = summed(bench, *arguments)  # type: ignore[arg-type]
            self.gradients.append(time.perf_counter() - started)
            return found

        def timed_handle(data: bytes) -> bytes:
            started, before = time.perf_counter(), len(self.gradients)
            Bench._sum = timed_sum  # type: ignore[assignment,method-assign]
            reply = handle(data)
            Bench._sum = summed  # type: ignore[method-assign]
            if len(self.gradients) > before:
                self.answers.append(time.perf_counter() - started)
            return reply

        site.handle = timed_handle  # type: ignore[method-assign]
        yield


def sized(study: Study, width: int, hidden: int, steps: int) -> Study:
    model = replace(study.model, options={"width": width, "hidden": hidden})
    return replace(study, model=model, training=replace(study.training, rounds=steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    print(f"{'weights':>12} {'whole step, s':>14} {'gradients, s':>13} {'the rest, s':>12}")
    for width, hidden in SIZES:
        study = sized(parse_study(STUDY), width, hidden, steps)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for seed, name in enumerate(NAMES):
                write_hospital(root / "archives" / name, patients=30, seed=seed, profile=PROFILES[name])
            local = LocalFederation.make(root, {name: root / "archives" / name for name in NAMES}, study)
            (root / "sites" / NAMES[0] / "policy.toml").write_text(POLICY)
            sites, watch = local.sites(), Watch()
            with watch.on(sites[0]):
                local.run(LocalLink(sites), study)
        answers, gradients = watch.answers[1:], watch.gradients[1:]  # the first measures ways and decodes
        rest = median(a - g for a, g in zip(answers, gradients, strict=True))
        print(f"{layout_for(study).size:12,} {median(answers):14.3f} {median(gradients):13.3f} {rest:12.3f}")


POLICY = """
[privacy]
least = "distributed"
[studies]
ask = false
"""

if __name__ == "__main__":
    main()
