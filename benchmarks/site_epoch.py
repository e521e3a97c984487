"""What federation costs a hospital: an epoch as it is asked for, masked and answered, beside the loop without Konsil.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/site_epoch.py        # about 5 minutes; --model, --epochs, --patients

The federated epoch is everything the hospital does from the request's bytes to the reply's: checking signatures and
plan, loading the weights, one epoch, the update, quantising, masking, sharing secrets, storing, the audit log. The
plain loop is a PyTorch loop over the same tensors in memory, same batches, same augmentation, same optimiser, nothing
else. They are taken in turn in one process; medians of wall seconds, and of the ratio of each pair.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from client.dicom.archive import Counts
from client.images import Images, Split
from client.site import Site
from client.training.augment import Augmentation
from client.workbench import Prepared
from shared.messages.requests import Step, read_request
from shared.network import network_of
from shared.reasons import Reason
from shared.study import Study, parse_study
from simulations.faults import LocalLink
from simulations.sites import POLICY
from simulations.wards import found

BATCH = 32

STUDY = """
name = "epoch"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX"]
size = [{side}, {side}]
[model]
name = "{model}"
[training]
rounds = {epochs}
batch = 32
local_epochs = 1
optimizer = "adam"
learning_rate = 0.001
augmentation = ["flip", "rotate", "shift", "contrast"]
[federation]
min_sites = 2
max_images = 100000
[privacy]
mode = "off"
[evaluation]
every = 1000
"""
#: Model → side of its images in pixels.
MODELS = {"cnn": 64, "resnet": 64, "densenet121": 64}


def images_of(study: Study, patients: int) -> Images:
    """One image a patient; a few held out."""
    rng = np.random.default_rng(0)
    split = np.repeat([Split.TRAIN, Split.VALIDATION, Split.TEST], [patients, 8, 8]).astype(np.int64)
    count = len(split)
    pixels = rng.random((count, *study.input.shape), np.float32)
    keys = tuple(number.to_bytes(32, "big") for number in range(count))
    return Images(pixels, rng.integers(0, 2, count), np.arange(count), keys, split)


@dataclass
class Plain:
    """The loop without Konsil."""

    study: Study
    images: Images
    net: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.net = network_of(self.study).train()
        rows = self.images.rows(Split.TRAIN)
        self.pixels, self.target = (
            torch.from_numpy(self.images.pixels[rows]),
            torch.from_numpy(self.images.target[rows]),
        )
        self.augment = Augmentation.of(self.study, "class")

    def epoch(self, seed: int) -> float:
        """Seconds of one pass."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.study.training.learning_rate)
        started = time.perf_counter()
        for rows in torch.split(torch.randperm(len(self.pixels), generator=generator), BATCH):
            pixels, target = self.augment(self.pixels[rows], self.target[rows], generator)
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(self.net(pixels), target))
            optimizer.step()
        return time.perf_counter() - started


class Timed(LocalLink):
    """Times what node 0 does for each training step; before each, an epoch of the plain loop."""

    def __init__(self, sites: list[Site], plain: Plain) -> None:
        super().__init__(sites)
        self.plain = plain
        self.seconds: list[tuple[float, float]] = []

    def _serve(self, node: int, request: bytes) -> bytes | None:
        body = read_request(request)
        if node or not isinstance(body, Step) or body.plan.step != "train":
            return super()._serve(node, request)
        without = self.plain.epoch(body.plan.round)
        started = time.perf_counter()
        reply = super()._serve(node, request)
        self.seconds.append((without, time.perf_counter() - started))
        return reply


def measured(model: str, epochs: int, patients: int) -> None:
    study = parse_study(STUDY.format(model=model, side=MODELS[model], epochs=epochs))
    images = images_of(study, patients)
    prepared = Prepared(images, Counts(len(images.target), len(images.target), dict.fromkeys(Reason, 0)))
    idle = Images(images.pixels[-24:], images.target[-24:], np.arange(24), images.keys[-24:], images.split[-24:])
    few = Prepared(idle, Counts(24, 24, dict.fromkeys(Reason, 0)))
    with tempfile.TemporaryDirectory() as folder:
        local = found(Path(folder), ("large", "small"), POLICY)
        sites = [
            Site(local.home(name), prepare=lambda *_, own=own: own)
            for name, own in zip(local.names, (prepared, few), strict=True)
        ]
        link = Timed(sites, Plain(study, images))
        _, result = local.run(link, study)
    if result.status != "finished":
        raise RuntimeError(result.because)
    weights = sum(p.numel() for p in link.plain.net.parameters())
    kept = link.seconds[1:]  # the first warms both up
    plain, ours = (statistics.median(pair[place] for pair in kept) for place in (0, 1))
    ratio = statistics.median(with_ / without for without, with_ in kept)
    print(f"| {model} {MODELS[model]}², {weights:,} weights | {plain:.2f} s | {ours:.2f} s | {ratio:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--patients", type=int, default=512)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.patients} images, batches of {BATCH}")
    print("| network | plain loop | in the federation | ratio (median of pairs) |\n|---|---|---|---|")
    for model in [given.model] if given.model else MODELS:
        measured(model, given.epochs, given.patients)


if __name__ == "__main__":
    main()
