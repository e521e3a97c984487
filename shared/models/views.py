"""Versions of an image that show the same: for scores that are averaged over them (test-time augmentation)."""

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
