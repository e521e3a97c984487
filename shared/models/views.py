"""Versions of an image that show the same: for scores that are averaged over them (test-time augmentation)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def views_of(pixels: Tensor, views: int) -> tuple[Tensor, ...]:
    """[n, C, (D,) H, W] as it is; with 2 `views` mirrored too; with 8, of images, in all symmetries of the frame: eight
    of a square, four of others."""
    if views <= 2:
        return (pixels, pixels.flip(-1))[:views]
    turned = (pixels, pixels.flip(3), pixels.flip(2), pixels.flip(2, 3))
    if pixels.shape[2] != pixels.shape[3]:
        return turned
    return (*turned, *(version.transpose(2, 3) for version in turned))


def over_views(
    pixels: Tensor, views: int, score: Callable[[Tensor], Tensor], mirrored: Sequence[int] | None = None
) -> Tensor:
    """The mean of `score`, [n, C, (D,) H, W] → [n, …], over the views, in float32. `mirrored`: for each of its numbers
    the place of the one that it is in a mirror image, where they say sides; of 8 views none does."""
    scores = [score(version).float() for version in views_of(pixels, views)]
    if mirrored is not None and views == 2:
        scores[1] = scores[1][:, list(mirrored)]
    return torch.stack(scores).mean(dim=0)
