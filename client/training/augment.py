"""Random changes to images that leave what is known of them true, by the names a study may ask for.

Images are float32 [n, C, H, W] in [0, 1] and stay so; of volumes, [n, C, D, H, W], "quarter" turns the slices' plane.
What moves the image moves its mask and boxes too, and where it is mirrored, labels that say a side change places
(`task.mirrored`). The generator decides everything: same seed, same images. Which changes are made depends on the set
of names, not on their order.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from client.training.moves import Moves, draw, uniform
from shared.study import Study
from shared.tasks.base import Target
from shared.tasks.symmetries import mirrored_of

NAMES = frozenset({"flip", "quarter", "rotate", "shift", "scale", "crop", "contrast", "noise"})

CONTRAST = 1.25
NOISE = 0.03  # largest standard deviation, of the full range


@dataclass(frozen=True)
class Augmentation:
    """`names` of the changes; `target`: what is known of an image; `swapped`: the index that each label has in the
    mirror image, [labels]."""

    names: frozenset[str]
    target: Target = "none"
    swapped: tuple[int, ...] = ()

    @classmethod
    def of(cls, study: Study, target: Target) -> "Augmentation":
        """What `study` asks for."""
        return cls(frozenset(study.training.augmentation), target, tuple(mirrored_of(study.task)))

    def __call__(self, images: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """One random version of each image, same shape, and what is then known of it. `generator` lives on the CPU."""
        if not self.names:
            return images, target
        size = tuple(images.shape[2:])
        moves = draw(self.names, len(images), size, generator)
        changed = _brightness(moves.of_images(images), self.names, generator)
        return changed, self._sides(self._places(target, moves, size), moves.mirrored)

    def _places(self, target: Tensor, moves: Moves, size: tuple[int, ...]) -> Tensor:
        if self.target == "mask":
            return moves.of_masks(target)
        return moves.of_boxes(target, size) if self.target == "boxes" else target

    def _sides(self, target: Tensor, mirrored: Tensor) -> Tensor:
        """`target` with the labels that say a side changed where the image is mirrored."""
        if list(self.swapped) == sorted(self.swapped):
            return target
        swapped, chosen = torch.tensor(self.swapped).to(target.device), mirrored.to(target.device)
        if self.target == "class":
            return torch.where(chosen, swapped[target], target)
        if self.target == "classes":
            return torch.where(chosen[:, None], target[:, swapped], target)
        if self.target == "mask":
            values = torch.cat([swapped.new_zeros(1), 1 + swapped]).to(target.dtype)
            return torch.where(_each(chosen, target), values[target.long()], target)
        if self.target == "boxes":
            names = torch.where(target[..., 0] >= 0, swapped[target[..., 0].long().clamp_min(0)].to(target), -1.0)
            return torch.where(chosen[:, None, None], torch.cat([names[..., None], target[..., 1:]], -1), target)
        return target


def _brightness(images: Tensor, names: Collection[str], generator: Generator) -> Tensor:
    if "contrast" in names:
        factor = CONTRAST ** uniform(len(images), generator).to(images)
        mean = images.mean(dim=tuple(range(1, images.dim())), keepdim=True)
        images = mean + (images - mean) * _each(factor, images)
    if "noise" in names:
        strength = NOISE * uniform(len(images), generator).to(images).abs()
        grain = torch.randn(images.shape, generator=generator).to(images)
        images = images + grain * _each(strength, images)
    return images.clamp(0, 1)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """[n] → [n, 1, …], to meet every value of `like`."""
    return values.reshape(-1, *(1 for _ in like.shape[1:]))
