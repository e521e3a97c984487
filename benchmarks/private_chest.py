"""Chest X-rays at eight hospitals of unlike patients (Dirichlet 0.5): private at ε = 8, beside pooled and not private.

    python benchmarks/private_chest.py DATA [--seeds 3] [--sites 8] [--concentration 0.5]

DATA is train_val.npz (PneumoniaMNIST, 28 × 28; not part of Konsil): one patient per image. A seed is another partition
and new homes, so other splits, noise and sampling; within a seed all runs have the same held-out patients.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from clinics import Clinics, Figure, without_privacy

from client.dicom.dicomize import dicomize
from shared.study import read_study
from simulations.partition import dirichlet

PRIVATE = read_study(Path(__file__).resolve().parents[1] / "docs" / "studies" / "chest-private.toml")
#: The same model, splits and held-out patients without privacy, all images in one place so that nothing drifts.
OPEN = without_privacy(PRIVATE, optimizer="adam", learning_rate=0.02, momentum=0.0, rounds=4, local_steps=200, batch=64)
#: Patients that a hospital has at least.
LEAST = 60
TARGET = 0.02


def hospitals(data: Path, out: Path, *, sites: int, concentration: float, seed: int) -> Mapping[str, Path]:
    """An archive for each of `sites`, in `out`."""
    with np.load(data, allow_pickle=False) as file:
        images = np.concatenate([file["train_images"], file["val_images"]])
        labels = np.concatenate([file["train_labels"], file["val_labels"]]).reshape(-1)
    archives = {}
    parts = dirichlet(labels, sites=sites, concentration=concentration, seed=seed, least=LEAST)
    for number, rows in enumerate(parts, start=1):
        name = f"hospital-{number}"
        pictures = out / f"{name}.npz"
        np.savez(pictures, images=images[rows], labels=labels[rows])
        dicomize(pictures, None, out / name)
        archives[name] = out / name
        print(f"  {name}: {len(rows)} patients, {labels[rows].mean():.0%} with pneumonia", flush=True)
    return archives


def show(name: str, figure: Figure) -> Figure:
    """Print one line; the figure as it came."""
    auc, pooled = figure.auc, figure.pooled_auc
    print(f"{name:32} {pooled:10.4f} {auc:12.4f} {figure.epsilon:8.3f} {figure.seconds:9.1f}", flush=True)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sites", type=int, default=PRIVATE.federation.min_sites)
    parser.add_argument("--concentration", type=float, default=0.5)
    options = parser.parse_args()
    started, pairs = time.monotonic(), []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            archives = hospitals(
                options.data, root, sites=options.sites, concentration=options.concentration, seed=seed
            )
            clinics = Clinics.found(root / "homes", archives, PRIVATE)
            print(f"{'run':32} {'pooled AUC':>10} {'within sites':>12} {'ε':>8} {'seconds':>9}")
            private = show(f"seed {seed}: private", clinics.federated(PRIVATE))
            plain = show(f"seed {seed}: pooled, not private", clinics.pooled(OPEN))
            pairs.append((private.pooled_auc, plain.pooled_auc))
    private_auc, plain_auc = (statistics.mean(column) for column in zip(*pairs, strict=True))
    print(f"\nAUC, mean of {len(pairs)} seeds: private {private_auc:.4f}, pooled and not private {plain_auc:.4f}")
    print(f"difference {private_auc - plain_auc:+.4f} (target: within {TARGET})")
    print(f"everything together: {(time.monotonic() - started) / 60:.1f} minutes (target < 10)")


if __name__ == "__main__":
    main()
