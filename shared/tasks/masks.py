"""Masks with torch: what a step is given, the loss, the masks that a network gives, and how far theirs lie from drawn
ones. Every image on its own.

Only imported by functions that hospitals call: the coordinator has no torch.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from torch import Generator, Tensor, nn

from shared.meaning import Window
from shared.models.layers import Output, parts_of
from shared.tasks.symmetries import symmetries

Loss = Literal["dice-ce", "dice-focal", "ce"]
Bits = NDArray[np.bool_]

#: Added to either side of the fraction of a soft Dice: without it, a structure that is not there has no gradient.
SMOOTH = 1.0
#: Of the focal loss (Lin et al. 2017, arXiv 1708.02002).
GAMMA = 2.0
#: Pixels of one channel that are looked at together.
AT_ONCE = 1 << 20


def patches(
    images: Tensor, target: Tensor, side: int, foreground: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """One random part of each image and its mask, `side` long along each side that is longer: [n, C, …], [n, …].

    With probability `foreground` around a pixel of any structure, else anywhere (nnU-Net, Isensee et al. 2021). As
    many numbers are drawn for every image, whatever is in it.
    """
    sides = target.shape[1:]
    lengths = [min(side, whole) for whole in sides]
    draws = torch.rand(len(images), 2 + len(sides), generator=generator).tolist()
    pieces = []
    for image, mask, (coin, place, *free) in zip(images, target, draws, strict=True):
        starts = [int(u * (whole - length + 1)) for u, whole, length in zip(free, sides, lengths, strict=True)]
        drawn = mask.nonzero()
        if coin < foreground and len(drawn):
            centre = drawn[int(place * len(drawn))].tolist()
            starts = [
                min(max(middle - length // 2, 0), whole - length)
                for middle, whole, length in zip(centre, sides, lengths, strict=True)
            ]
        part = tuple(slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
        pieces.append((image[(slice(None), *part)], mask[part]))
    return torch.stack([image for image, _ in pieces]), torch.stack([mask for _, mask in pieces])


def loss_of(output: Tensor | Output, target: Tensor, weights: Sequence[float], name: Loss, *, alone: bool) -> Tensor:
    """[n] from logits [n, K, …] and masks [n, …]: cross entropy or focal loss of the mean pixel, plus the mean of 1 −
    soft Dice over the structures unless `name` is "ce"; each scaled by the structure's weight, the background's being
    1. `alone`: each structure by itself, without a background."""
    logits, penalty = parts_of(output)
    logits = logits.float()
    scale = logits.new_tensor(list(weights))
    hot = torch.stack([target == 1 + place for place in range(len(weights))], dim=1).to(logits)  # [n, L, …]
    structures = hot
    if not alone:
        hot = torch.cat([1 - hot.sum(dim=1, keepdim=True), hot], dim=1)
        scale = torch.cat([scale.new_ones(1), scale])
    gamma = GAMMA if name == "dice-focal" else 0.0
    pixels = FocalLoss(gamma=gamma, use_softmax=not alone, reduction="none")(logits, hot)  # [n, K, …]
    found = (pixels.flatten(2).mean(dim=2) * scale).sum(dim=1)
    if name != "ce":
        probabilities = logits.sigmoid() if alone else logits.softmax(dim=1)[:, 1:]
        dice = DiceLoss(reduction="none", smooth_nr=SMOOTH, smooth_dr=SMOOTH)(probabilities, structures)
        found = found + (dice.flatten(1) * scale[-len(weights) :]).mean(dim=1)
    whole: Tensor = found + penalty
    return whole


def masks_of(
    module: nn.Module, images: Tensor, views: int, *, window: Window | None, alone: bool, mirrored: Sequence[int]
) -> Tensor:
    """Which structures are where, bool [n, L, …]: of probabilities that are averaged over the views, the largest; or
    those above a half if each is `alone`. `mirrored`: channel that each becomes in a mirror."""
    size = max(1, AT_ONCE // images[0, 0].numel())
    pieces = torch.split(images, size)
    return torch.cat([_masks(module, some, views, window=window, alone=alone, mirrored=mirrored) for some in pieces])


def _masks(
    module: nn.Module, images: Tensor, views: int, *, window: Window | None, alone: bool, mirrored: Sequence[int]
) -> Tensor:
    found = []
    for flips, swapped in symmetries(views, square=images.shape[-1] == images.shape[-2]):
        turned = images.flip(flips)
        logits = _logits(module, turned.transpose(-1, -2) if swapped else turned, window).float()
        probabilities = logits.sigmoid() if alone else logits.softmax(dim=1)
        back = (probabilities.transpose(-1, -2) if swapped else probabilities).flip(flips)
        found.append(back[:, list(mirrored)] if flips == (-1,) else back)
    whole = torch.stack(found).mean(dim=0)
    if alone:
        return whole > 0.5
    return F.one_hot(whole.argmax(dim=1), whole.shape[1]).movedim(-1, 1)[:, 1:].bool()


def _logits(module: nn.Module, images: Tensor, window: Window | None) -> Tensor:
    if window is None:
        whole: Tensor = module(images)
        return whole
    pieced = sliding_window_inference(images, window.size, 4, module, overlap=window.overlap, mode=window.mode)
    return torch.as_tensor(pieced)


def agreement(found: Bits, drawn: Bits, spacing: Sequence[float], tolerance: float) -> list[float]:
    """The measures of structures.py for two masks of one size: pixels shared, found and drawn, distance, surface Dice.

    Distances are between the masks' edge pixels, in the unit of `spacing`; of either direction the 95th percentile, and
    of the two the larger. Surface Dice: the share of edge pixels no further than `tolerance` from the other edge
    (Nikolov et al. 2018, arXiv 1809.04430, without areas).
    """
    counts = [float((found & drawn).sum()), float(found.sum()), float(drawn.sum())]
    if not (counts[1] and counts[2]):
        return [*counts, float("nan"), 0.0]
    edges = [mask & ~binary_erosion(mask) for mask in (found, drawn)]
    away = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    there, back = away[1][edges[0]], away[0][edges[1]]
    furthest = max(float(np.quantile(each, 0.95)) for each in (there, back))
    near = float((there <= tolerance).sum() + (back <= tolerance).sum())
    return [*counts, furthest, near / (len(there) + len(back))]
