"""How inversion.py looks for images whose gradients point the way of an update; it says whose idea that is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from inversion_prey import Vector
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from shared.models.scattering import Scattering
from shared.network import network_of
from shared.parameters import layout_of
from shared.study import Study

#: Candidates [p, b, 1, H, W], b images sought at once → how far each is from what was observed, [p].
Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Effort:
    """`copies` of each picture sought; `generations` of `steps` each, all copies starting from the best so far."""

    copies: int = 3
    generations: int = 5
    steps: int = 110
    rate: float = 0.02
    disturbance: float = 0.15
    smoothness: float = 0.03


class Gradients:
    """Gradients of `network` for groups of b images, flat, in the order of updates (sorted names)."""

    def __init__(self, network: nn.Module) -> None:
        self._weights = {name: p.detach() for name, p in sorted(network.named_parameters())}
        self._names = list(self._weights)
        self._layout = layout_of(network)

        def loss(weights: Mapping[str, Tensor], images: Tensor, label: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(network, dict(weights), (images,)), label)

        self._each = vmap(grad(loss), in_dims=(None, 0, 0))

    def __call__(self, images: Tensor, label: Tensor) -> Tensor:
        """[p, b, 1, H, W], [p, b] → [p, d]: of the mean loss over b."""
        found = self._each(self._weights, images, label)
        return torch.cat([found[name].flatten(start_dim=1) for name in self._names], dim=1)

    def label(self, update: Vector) -> int:
        """The label of the one image behind `update`: only its logit's bias goes up (Zhao et al. 2020)."""
        pieces = self._layout.split(update)
        last = max(name for name in pieces if name.startswith("head.") and name.endswith("bias"))
        return int(np.argmax(pieces[last]))

    def distance(self, updates: Sequence[Vector], labels: Sequence[Sequence[int]], copies: int) -> Distance:
        """One minus the cosine between a candidate's gradient and its update; candidates are copy by copy."""
        label = torch.tensor(labels).repeat(copies, 1)
        # a step of plain descent goes against the gradient
        wanted = F.normalize(-torch.from_numpy(np.stack(updates)), dim=1).repeat(copies, 1)

        def distance(images: Tensor) -> Tensor:
            return 1 - (F.normalize(self(images, label), dim=1) * wanted).sum(dim=1)

        return distance


def search(distance: Distance, count: int, shape: tuple[int, ...], effort: Effort, seed: int = 0) -> Tensor:
    """For each of `count` observations the b images [count, b, H, W] of least distance and total variation found.

    `shape` is b, H, W; `distance` sees copies × count candidates.
    """
    together, height, width = shape
    copies, draw = effort.copies, torch.Generator().manual_seed(seed)
    sides = [4 << level for level in range(8) if 4 << level <= height]
    best = torch.full((count, together, height, width), 0.5)
    lowest = torch.full((count,), torch.inf)
    for generation in range(effort.generations):
        # the first copy of each goes on undisturbed, the last is disturbed most
        strength = torch.linspace(0, effort.disturbance, copies) if generation else torch.full((copies,), 0.3)
        pyramid = [
            (torch.randn(copies * count, together, side, side, generator=draw) * strength.repeat_interleave(count)
             [:, None, None, None] * (0.5 if side == height else 1.0)).requires_grad_()
            for side in sides
        ]  # fmt: skip
        base = best.repeat(copies, 1, 1, 1)
        fade = 1 - 0.6 * generation / effort.generations
        images, score = _descend(distance, base, pyramid, effort, effort.rate * fade)
        score = score.reshape(copies, count)
        winner = score.argmin(dim=0)
        found = images.reshape(copies, count, *shape)[winner, torch.arange(count)]
        better = score.amin(dim=0) < lowest
        best = torch.where(better[:, None, None, None], found, best)
        lowest = torch.where(better, score.amin(dim=0), lowest)
    return best


def _descend(
    distance: Distance, base: Tensor, pyramid: list[Tensor], effort: Effort, rate: float
) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] after `effort.steps` of signed Adam on all levels of `pyramid`, and their scores."""

    def made() -> Tensor:
        images = base
        for level in pyramid:
            images = images.add(F.interpolate(level, base.shape[2:], mode="bilinear", align_corners=False))
        return images

    def score(images: Tensor) -> Tensor:
        return distance(images[:, :, None]) + effort.smoothness * _variation(images)

    optimizer = torch.optim.Adam(pyramid, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, effort.steps, eta_min=0.02 * rate)
    for _ in range(effort.steps):
        images = made()
        outside = (images - images.clamp(0, 1)).square().mean(dim=(1, 2, 3))
        optimizer.zero_grad()
        torch.autograd.backward((score(images) + 10 * outside).sum())
        for level in pyramid:
            if level.grad is not None:
                level.grad.sign_()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        images = made().clamp(0, 1)
        return images, score(images)


def _variation(images: Tensor) -> Tensor:
    """Mean absolute step between neighbours, [p, b, H, W] → [p]."""
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + (images[..., 1:] - images[..., :-1]).abs().mean(dim=(1, 2, 3))


def statistics_of(study: Study, update: Vector) -> Tensor:
    """The wavelet statistics of the one image behind an update of `scattering`: its centre moved by
    rate × pull × gain times them, from zero (shared/models/scattering.py)."""
    network = network_of(study)
    if not isinstance(network, Scattering):
        raise ValueError(f"model: expected scattering, got {study.model.name}")
    moved = layout_of(network).split(update)["centre"]
    return torch.from_numpy(moved) / (study.training.learning_rate * network.pull * network.gain)


def statistics(network: Scattering, images: Tensor) -> Tensor:
    """[n, 1, H, W] → [n, features], as the network forms them, with a gradient."""
    found: Tensor = (network.wavelets(images) - network.offset) @ network.decorrelate
    return found
