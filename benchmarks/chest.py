"""ResNet-18 on PneumoniaMNIST: trained in one place, then at eight unequal hospitals, judged on the same 524 images.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/chest.py DATA [--seeds 3] [--sites 8] [--strategy fedavg]

DATA is the folder with chest28. The 4,708 training images are in one place, or at hospitals by Dirichlet 0.5; the 524
validation images of the collection are nobody's and judge both. The federation is the real one, masked in active mode,
but for Flower's transport and DICOM. In one place: the same steps in all, each over as many images.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from numpy.typing import NDArray

from client.dicom.archive import Counts
from client.images import Images, Split
from client.site import Site
from client.training.evaluate import measures
from client.workbench import Prepared
from server.strategies.base import Weights
from shared.network import initial, network_of
from shared.parameters import load_vector
from shared.reasons import Reason
from shared.study import Study, read_study
from shared.tasks.registry import kind_of
from simulations.alone import Alone
from simulations.faults import LocalLink
from simulations.partition import dirichlet
from simulations.sites import POLICY
from simulations.wards import found as homes_in

STUDY = read_study(Path(__file__).resolve().parents[1] / "docs" / "studies" / "chest.toml")
Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """Images [n, 1, 32, 32] in [0, 1] and their labels, of training and of validation."""

    train: tuple[Pixels, Labels]
    validation: tuple[Pixels, Labels]

    @classmethod
    def read(cls, folder: Path) -> "Data":
        with np.load(folder / "chest28" / "train_val.npz", allow_pickle=False) as file:
            parts = {
                name: (_enlarged(file[f"{name}_images"]), file[f"{name}_labels"].reshape(-1).astype(np.int64))
                for name in ("train", "val")
            }
        return cls(parts["train"], parts["val"])


def _enlarged(pixels: NDArray[np.uint8]) -> Pixels:
    """[n, 28, 28] of 0 … 255 to the study's size in [0, 1]."""
    images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28)).float() / 255
    return F.interpolate(images, size=STUDY.input.size, mode="bilinear", antialias=True).numpy()


def images_of(pixels: Pixels, labels: Labels, held_out: int = 0) -> Images:
    """One patient an image; the first `held_out` in validation, as many in test."""
    count = len(labels)
    split = np.full(count, Split.TRAIN, np.int64)
    split[:held_out], split[held_out : 2 * held_out] = Split.VALIDATION, Split.TEST
    keys = tuple(number.to_bytes(32, "big") for number in range(count))
    return Images(pixels, labels, np.arange(count), keys, split)


def figures(study: Study, weights: Weights, data: Data) -> tuple[float, float]:
    """AUC, and accuracy at one half, on the validation images."""
    module, kind = network_of(study), kind_of(study)
    load_vector(module, weights)
    pixels, labels = data.validation
    images = images_of(pixels, labels)
    scores = measures(kind, module, images, np.arange(len(labels)))
    judged = kind.judge(kind.count(scores, labels, images.patient)).figure("pooled_auc")
    area = judged.value if judged is not None and judged.value is not None else float("nan")
    return area, float(((scores[:, 1] > 0.5) == labels).mean())


def in_one_place(study: Study, data: Data, sites: int) -> Weights:
    """The model of all training images."""
    together = replace(study, training=replace(study.training, local_steps=(study.training.local_steps or 1) * sites))
    alone = Alone(together, images_of(*data.train))
    state = alone.begin(initial(study)[1])
    for round_ in range(1, study.training.rounds + 1):
        state = alone.move(state, round_)
    return state.result


def at_hospitals(study: Study, data: Data, sites: int, seed: int, folder: Path) -> Weights:
    """The federation's last model."""
    pixels, labels = data.train
    parts = dirichlet(labels, sites=sites, concentration=0.5, seed=seed, least=60)
    print("  " + ", ".join(f"{len(rows)} ({labels[rows].mean():.0%})" for rows in parts), flush=True)
    local = homes_in(folder / "ground", [f"hospital-{k}" for k in range(sites)], POLICY)
    counts = Counts(0, 0, dict.fromkeys(Reason, 0))
    prepared = [Prepared(images_of(pixels[rows], labels[rows], held_out=2), counts) for rows in parts]
    homes = [
        Site(local.home(name), prepare=lambda *_, own=own: own) for name, own in zip(local.names, prepared, strict=True)
    ]
    outcome, result = local.run(LocalLink(homes), study)
    if result.status != "finished":
        raise RuntimeError(result.because)
    return outcome.checkpoint.state.result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="dotted keys of the study")
    given = parser.parse_args()
    torch.set_num_threads(1)
    study, data = _changed(STUDY, given.set), Data.read(given.data)
    rows: list[tuple[float, float]] = []
    for seed in range(given.seeds):
        begun = time.monotonic()
        seeded = replace(study, training=replace(study.training, seed=seed))
        one = figures(seeded, in_one_place(seeded, data, given.sites), data)
        middle = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            many = figures(seeded, at_hospitals(seeded, data, given.sites, seed, Path(folder)), data)
        for where, found, seconds in (
            ("in one place", one, middle - begun),
            (f"at {given.sites} hospitals", many, time.monotonic() - middle),
        ):
            print(f"seed {seed}: {where} AUC {found[0]:.4f}, accuracy {found[1]:.3f} ({seconds:.0f} s)", flush=True)
        rows.append((one[0], many[0]))
    first, second = (statistics.mean(column) for column in zip(*rows, strict=True))
    print(f"mean: in one place {first:.4f}, at hospitals {second:.4f}, difference {second - first:+.4f} (target −0.01)")


def _changed(study: Study, changes: list[str]) -> Study:
    plain: dict[str, Any] = msgspec.to_builtins(study)
    for change in changes:
        key, _, value = change.partition("=")
        *parents, last = key.split(".")
        section = plain
        for parent in parents:
            section = section[parent]
        section[last] = msgspec.json.decode(value)
    return msgspec.convert(plain, Study)


if __name__ == "__main__":
    main()
