"""Which algorithm wins where: algorithms beside kinds of difference between hospitals.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/heterogeneity.py DATA            # DATA: the folder with chest28
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/heterogeneity.py DATA --seeds 1 --only fedavg --shift dirichlet-5

After FLamby (Ogier du Terrail et al. 2022, arXiv 2210.04620). Every cell is the real federation: hospitals with keys,
sums masked in active mode; only Flower's transport is left out. Label skew: PneumoniaMNIST at five hospitals
by Dirichlet 0.1, 0.5 and 5. Feature shift: the four drawn hospitals, each with its scanner and its patients, as DICOM.
Every algorithm has the same rounds, local steps and batches; the first seed runs each with every one of its settings
below, and the one that was best on the validation patients is run with the other seeds. Figures: pooled AUC of label
skew (with nearly one label a site there are no pairs within), site-stratified AUC of feature shift, on held-out
patients, mean and standard deviation over the seeds; and the drift of the first round.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from client.dicom.archive import Counts
from client.images import Images
from client.site import Site
from client.workbench import Prepared
from server.report.result import Result
from shared.reasons import Reason
from shared.study import Study, parse_study
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation
from simulations.partition import dirichlet
from simulations.sites import POLICY
from simulations.wards import found as homes

SITES, PATIENTS, ROUNDS = 5, 1500, 15

STUDY = """
name = "difference"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["OT", "DX", "CR"]
size = [28, 28]
[model]
name = "cnn"
[model.options]
width = 8
hidden = 0
[training]
rounds = 15
batch = 16
local_steps = 20
learning_rate = 0.1
[federation]
min_sites = 4
max_images = 4000
[privacy]
mode = "off"
[aggregation]
colluders = 0
update_norm = 100.0
[evaluation]
test = 0.25
validation = 0.15
every = 5
"""
#: Algorithm → the settings tried: of the local rate, of its options, of the study's [federation] beside them.
LOCAL = (0.03, 0.1)
SETTINGS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "fedavg": ({},),
    "fedavg with momentum": ({"server_momentum": 0.7},),
    "fedprox": ({"mu": 0.01}, {"mu": 0.1}),
    "fedadam": ({"server_rate": 0.01}, {"server_rate": 0.03}),
    "fedyogi": ({"server_rate": 0.01}, {"server_rate": 0.03}),
    "fedadagrad": ({"server_rate": 0.03}, {"server_rate": 0.1}),
    "scaffold": ({},),
    "feddyn": ({"alpha": 0.01}, {"alpha": 0.1}),
    "fedexp": ({},),
    "fednova": ({},),
    "fedbn": ({},),
    "ditto": ({"personal_mu": 0.1},),
}
PERSONAL = {"fedbn": ("norm",), "ditto": ("all",)}
NAMES = {"fedavg with momentum": "fedavg", "fedbn": "fedavg", "ditto": "fedavg"}
SHIFTS = ("dirichlet-0.1", "dirichlet-0.5", "dirichlet-5", "scanners")


@dataclass(frozen=True)
class Cell:
    """One run's figures."""

    validation: float
    test: float
    drift: float


def studies(algorithm: str) -> list[Study]:
    """Every setting of `algorithm`."""
    plain = parse_study(STUDY)
    federation = replace(
        plain.federation, strategy=NAMES.get(algorithm, algorithm), personal=PERSONAL.get(algorithm, ())
    )
    return [
        replace(
            plain,
            federation=replace(federation, options=options),
            training=replace(plain.training, learning_rate=rate),
        )
        for options in SETTINGS[algorithm]
        for rate in LOCAL
    ]


def skewed(data: Path, concentration: float, seed: int) -> list[Prepared]:
    """The hospitals of one draw."""
    with np.load(data / "chest28" / "train_val.npz") as archive:
        pixels = np.concatenate([archive["train_images"], archive["val_images"]])
        labels = np.concatenate([archive["train_labels"], archive["val_labels"]]).reshape(-1).astype(np.int64)
    chosen = np.random.default_rng(seed).permutation(len(labels))[:PATIENTS]
    pixels, labels = pixels[chosen], labels[chosen]
    parts = dirichlet(labels, sites=SITES, concentration=concentration, seed=seed, least=30)
    return [_hospital(pixels[rows], labels[rows], seed) for rows in parts]


def _hospital(
    pixels: np.ndarray[Any, np.dtype[np.uint8]], labels: np.ndarray[Any, np.dtype[np.int64]], seed: int
) -> Prepared:
    count = len(labels)
    split = np.random.default_rng(seed).choice(3, size=count, p=(0.6, 0.15, 0.25)).astype(np.int64)
    keys = tuple(number.to_bytes(32, "big") for number in range(count))
    tensors = (pixels.reshape(count, 1, 28, 28) / np.float32(255)).astype(np.float32)
    return Prepared(
        Images(tensors, labels, np.arange(count), keys, split), Counts(count, count, dict.fromkeys(Reason, 0))
    )


class Ground:
    """The hospitals of one kind of difference and one seed, for many studies."""

    def __init__(self, shift: str, data: Path, seed: int, folder: Path) -> None:
        self.stratified = shift == "scanners"
        self._prepared: list[Prepared] | None = None
        if self.stratified:
            archives = {name: folder / "archives" / name for name in PROFILES}
            for place, (name, archive) in enumerate(archives.items()):
                write_hospital(archive, patients=110, seed=10 * seed + place, profile=PROFILES[name])
            self.local = LocalFederation.make(folder, archives, parse_study(STUDY))
        else:
            self._prepared = skewed(data, float(shift.partition("-")[2]), seed)
            self.local = homes(folder, [f"site-{k}" for k in range(SITES)], POLICY)
        self._runs = 0

    def run(self, study: Study) -> Cell:
        """One whole run."""
        self._runs += 1
        _, result = self.local.run(LocalLink(self._sites()), study, out=f"run-{self._runs}")
        shutil.rmtree(self.local.folder / f"run-{self._runs}")
        return self._cell(result)

    def _sites(self) -> list[Site]:
        if self._prepared is None:
            return self.local.sites()
        return [
            Site(self.local.home(name), prepare=lambda *_, own=own: own)
            for name, own in zip(self.local.names, self._prepared, strict=True)
        ]

    def _cell(self, result: Result) -> Cell:
        judged = result.personal or result.judged
        if result.status != "finished" or judged is None:
            raise RuntimeError(f"{result.study.text.federation.strategy}: {result.because}")
        figure = judged.figure("stratified_auc" if self.stratified else "pooled_auc")
        validation = max(row.validation for row in result.rounds.each if row.validation is not None)
        value = figure.value if figure is not None and figure.value is not None else float("nan")
        return Cell(validation, value, result.rounds.each[0].drift or 0.0)


def measured(shift: str, algorithms: list[str], data: Path, seeds: int) -> dict[str, tuple[float, float, float]]:
    """Algorithm → mean and deviation of its best setting's figure, and the drift."""
    chosen: dict[str, Study] = {}
    cells: dict[str, list[Cell]] = {name: [] for name in algorithms}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            ground = Ground(shift, data, seed, Path(folder) / "ground")
            for name in algorithms:
                tried = [(ground.run(study), study) for study in ([chosen[name]] if seed else studies(name))]
                best, chosen[name] = max(tried, key=lambda pair: pair[0].validation)
                cells[name].append(best)
                print(json.dumps({"shift": shift, "seed": seed, "algorithm": name,
                                  "cells": [vars(cell) for cell, _ in tried]}), flush=True)  # fmt: skip
    return {name: _summed(found) for name, found in cells.items()}


def _summed(cells: list[Cell]) -> tuple[float, float, float]:
    tests = [cell.test for cell in cells]
    spread = statistics.stdev(tests) if len(tests) > 1 else float("nan")
    return statistics.mean(tests), spread, statistics.mean(cell.drift for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--shift", nargs="*", choices=SHIFTS, default=list(SHIFTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = {shift: measured(shift, given.only, given.data, given.seeds) for shift in given.shift}
    print(f"| algorithm | {' | '.join(given.shift)} |\n|---|{'---|' * len(given.shift)}")
    for name in given.only:
        cells = [
            f"{mean:.3f} ± {spread:.3f} (drift {drift:.1f})"
            for mean, spread, drift in (columns[s][name] for s in given.shift)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
