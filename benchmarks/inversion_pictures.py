"""How like a patient's image what inversion.py found is: figures, a table, and a picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float32]


def psnr(found: Picture, truth: Picture) -> float:
    """In dB, for values in [0, 1]."""
    return float(-10 * np.log10(np.mean((found.astype(np.float64) - truth) ** 2) + 1e-12))


def ssim(found: Picture, truth: Picture) -> float:
    """Mean structural similarity (Wang et al. 2004): Gaussian window of 1.5 pixels, values in [0, 1]."""

    def blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = gaussian_filter(image, 1.5, truncate=3.5)
        return blurred

    a, b = found.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    shape = (2 * covariance + 9e-4) / (var_a + var_b + 9e-4)
    return float(np.mean(light * shape))


@dataclass(frozen=True)
class Column:
    """One way to look at the four hospitals: a picture of each, and what it is held against."""

    title: str
    pictures: list[Picture]
    truths: list[Picture]

    def figures(self) -> list[tuple[float, float]]:
        """PSNR and SSIM by hospital."""
        return [(psnr(a, b), ssim(a, b)) for a, b in zip(self.pictures, self.truths, strict=True)]


def assigned(found: list[Picture], truths: list[Picture]) -> list[Picture]:
    """`found` in the order that fits `truths` best."""
    orders = [[found[k] for k in order] for order in permutations(range(len(found)))]
    return max(orders, key=lambda order: sum(map(psnr, order, truths)))


def table(columns: Sequence[Column], names: Sequence[str]) -> None:
    print(f"{'PSNR in dB / SSIM':34}" + "".join(f"{name:>14}" for name in names) + f"{'mean':>14}")
    for column in columns:
        cells = column.figures()
        cells.append((float(np.mean([p for p, _ in cells])), float(np.mean([s for _, s in cells]))))
        title = column.title.replace("\n", " ")
        print(f"{title:34}" + "".join(f"{p:7.1f} /{s:5.2f}" for p, s in cells))


def draw(path: Path, truths: list[Picture], columns: Sequence[Column], names: Sequence[str]) -> None:
    wide = len(columns) + 1
    figure = Figure(figsize=(1.75 * wide, 2.0 * len(names) + 0.5), dpi=110, layout="constrained")
    grid = figure.subplots(len(names), wide, squeeze=False)
    for row, name in enumerate(names):
        cells = [("truth", truths[row], "")]
        cells += [(c.title, c.pictures[row], f"{c.figures()[row][0]:.1f} dB") for c in columns]
        for axis, (title, picture, caption) in zip(grid[row], cells, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(caption, fontsize=9)
            if row == 0:
                axis.set_title(title, fontsize=9)
        grid[row][0].set_ylabel(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no date and no version inside: the same figures give the same file
    figure.savefig(path, metadata={"Software": None})
