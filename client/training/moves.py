"""Where the places of an image go when it is mirrored, turned, shifted, scaled or cropped: drawn once for each image,
done alike to its pixels, its mask and its boxes.

Exact symmetries are done without resampling; all else is one affine map. Outside the image its edge goes on; a mask has
nothing there, and a box ends at the edge, or is dropped if less than KEPT of it is left.

    >>> moves = draw({"flip"}, 4, (8, 8), torch.Generator().manual_seed(0))
    >>> moves.of_images(torch.zeros(4, 1, 8, 8)).shape
    torch.Size([4, 1, 8, 8])
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

#: Degrees, each way, in the plane of rows and columns; share of the side, each way; factor, both ways.
ANGLE_DEG, SHIFT, SCALE = 12.0, 0.08, 1.15
#: Least share of the sides that a crop keeps, before it is enlarged to the whole again.
CROP = 0.75
#: Share of a box's area below which what is left inside the image is no longer that thing.
KEPT = 0.25
AFFINE = frozenset({"rotate", "shift", "scale", "crop"})


@dataclass(frozen=True)
class Moves:
    """For each of n images: `flips` bool [n, sides], mirrored along that side; `swapped` bool [n], then rows and
    columns exchanged (squares only); `affine` float32 [n, sides, sides + 1] or None: then this map, from output to
    input, in half sides from the centre, columns first (torch.nn.functional.affine_grid)."""

    flips: Tensor
    swapped: Tensor
    affine: Tensor | None

    @property
    def mirrored(self) -> Tensor:
        """Which images have changed left for right, bool [n]."""
        return self.flips[:, -1]

    def of_images(self, images: Tensor) -> Tensor:
        """[n, C, (D,) H, W] moved, between pixels by linear interpolation."""
        return self._moved(images, "bilinear", "border")

    def of_masks(self, masks: Tensor) -> Tensor:
        """uint8 [n, (D,) H, W] moved, the nearest pixel's value taken."""
        return self._moved(masks[:, None].float(), "nearest", "zeros")[:, 0].to(masks.dtype)

    def of_boxes(self, boxes: Tensor, size: tuple[int, ...]) -> Tensor:
        """[n, K, 1 + 2 × sides] as shared/tasks/base.py lays boxes out, in an image of `size`; moved, those of which
        too little is left taken away (−1)."""
        sides = len(size)
        extent = boxes.new_tensor(size)
        least, most = boxes[..., 1 : 1 + sides], boxes[..., 1 + sides :]
        ends = torch.stack([least, most], dim=-2)  # [n, K, 2, sides]
        corners = torch.stack(
            [torch.stack([ends[..., end, side] for side, end in enumerate(corner)], -1) for corner in _corners(sides)],
            dim=-2,
        )  # [n, K, 2^sides, sides], in pixels
        places = self._places(corners / extent * 2 - 1)
        moved = (places + 1) / 2 * extent
        low, high = moved.amin(-2), moved.amax(-2)
        inside = torch.minimum(high, extent).clamp_min(0) - torch.minimum(low.clamp_min(0), extent)
        whole = (boxes[..., 0] >= 0) & (inside.clamp_min(0).prod(-1) >= KEPT * (high - low).prod(-1))
        kept = torch.cat([boxes[..., :1], low.clamp_min(0), torch.minimum(high, extent)], dim=-1)
        return torch.where(whole[..., None], kept, torch.full_like(kept, -1))

    def _places(self, places: Tensor) -> Tensor:
        """Where `places` [n, …, sides], in half sides from the centre in the order of the sides, go."""
        lead = (1,) * (places.dim() - 2)
        found = torch.where(self.flips.to(places.device).reshape(-1, *lead, places.shape[-1]), -places, places)
        turned = torch.cat([found[..., :-2], found[..., -1:], found[..., -2:-1]], dim=-1)
        found = torch.where(self.swapped.to(places.device).reshape(-1, *lead, 1), turned, found)
        if self.affine is None:
            return found
        back = torch.linalg.inv(self.affine[:, :, :-1])  # [n, sides, sides]
        shifted = found.flip(-1) - self.affine[:, :, -1].reshape(-1, *lead, places.shape[-1])
        return torch.einsum("nij,n...j->n...i", back, shifted).flip(-1)

    def _moved(self, values: Tensor, mode: str, padding: str) -> Tensor:
        for side in range(self.flips.shape[1]):
            values = _where(self.flips[:, side], values.flip(2 + side), values)
        if bool(self.swapped.any()):
            values = _where(self.swapped, values.transpose(-1, -2), values)
        if self.affine is None:
            return values
        grid = F.affine_grid(self.affine.to(values), list(values.shape), align_corners=False)
        return F.grid_sample(values, grid, mode=mode, padding_mode=padding, align_corners=False)


def draw(names: Collection[str], count: int, size: tuple[int, ...], generator: Generator) -> Moves:
    """Moves of `count` images of `size`, (rows, columns) or (slices, rows, columns), by the `names` among "flip",
    "quarter" and AFFINE. "quarter": one of the eight symmetries of a square, of the four of a rectangle."""
    sides = len(size)
    flips, swapped = torch.zeros(count, sides, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    if "flip" in names:
        flips[:, -1] = _coin(count, generator)
    if "quarter" in names:
        flips[:, -2] ^= _coin(count, generator)
        flips[:, -1] ^= _coin(count, generator)
        if size[-1] == size[-2]:
            swapped = _coin(count, generator)
    return Moves(flips, swapped, _affine(names, count, size, generator) if AFFINE & set(names) else None)


def _affine(names: Collection[str], count: int, size: tuple[int, ...], generator: Generator) -> Tensor:
    """Rotation in the plane of rows and columns, scale and shift along all sides, [n, sides, sides + 1]."""
    sides = len(size)
    angle = uniform(count, generator) * (math.radians(ANGLE_DEG) if "rotate" in names else 0.0)
    factor = SCALE ** uniform(count, generator) if "scale" in names else torch.ones(count)
    shift = 2 * (SHIFT if "shift" in names else 0.0) * uniform(count * sides, generator).reshape(count, sides)
    if "crop" in names:
        kept = 1 - (1 - CROP) * torch.rand(count, generator=generator)
        factor = factor * kept
        shift = shift + (1 - kept)[:, None] * uniform(count * sides, generator).reshape(count, sides)
    found = torch.zeros(count, sides, sides + 1)
    for side in range(sides):
        found[:, side, side] = factor
    # affine_grid counts in half sides, so rows and columns mix by the ratio of the sides
    ratio = size[-2] / size[-1]
    found[:, 0, 0], found[:, 0, 1] = factor * angle.cos(), -factor * angle.sin() * ratio
    found[:, 1, 0], found[:, 1, 1] = factor * angle.sin() / ratio, factor * angle.cos()
    found[:, :, -1] = shift
    return found


def uniform(count: int, generator: Generator) -> Tensor:
    """[count] in [-1, 1)."""
    return 2 * torch.rand(count, generator=generator) - 1


def _coin(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _corners(sides: int) -> list[tuple[int, ...]]:
    return list(product((0, 1), repeat=sides))


def _where(chosen: Tensor, changed: Tensor, values: Tensor) -> Tensor:
    return torch.where(chosen.to(values.device).reshape(-1, *(1 for _ in values.shape[1:])), changed, values)
