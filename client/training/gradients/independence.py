"""Whether one patient's gradient is the same, to the bit, wherever in a chunk and with whomever it is computed.

Clipping bounds what a patient adds; it does not bound what one patient more does to the rounding of all the others'
gradients (`precision.py`). So this is looked at, before a way is used: on made-up images, and under weights that no
coordinator has chosen, because under some weights hardly a gradient says anything.
"""

import copy
import math

import torch
from torch import Generator, Tensor, nn

from client.training.gradients.base import Loss, PatientGradients, Patients
from shared.models.layers import Output

#: Share of a patient's gradient, in L2, that who else is in the chunk may change it by: the order of a sum in float64.
BITWISE = 2.0**-40
#: A clip that no gradient reaches.
HUGE = 1e300


def independent(way: PatientGradients, module: nn.Module, loss: Loss, patients: Patients, tolerated: float) -> bool:
    """Whether the first patient's gradient is the same, up to `tolerated` of its length, at every place of a chunk
    and among any others, with a loss or without."""

    own = patients.target.shape[2:]

    def loss_of_some(output: Tensor | Output, flagged: Tensor) -> Tensor:
        target = flagged[:, 1:].reshape(-1, *own).to(patients.target.dtype)
        return loss(output, target) * flagged[:, 0]

    def at(place: int, says: float, real: int, contrast: float) -> Tensor:
        images, flags = patients.images.roll(1, -1) * contrast, torch.full(patients.target.shape[:2], says)
        images[place], flags[place] = patients.images[0], 1.0
        target = patients.target.reshape(*flags.shape, -1).float()
        flagged = torch.cat([flags[..., None].to(target), target], dim=2)  # [p, m, 1 + …]: whether it counts, and what
        return way.clipped_sum(module, loss_of_some, Patients(images, flagged, real), HUGE).total

    count = len(patients.target)
    alone = at(0, says=0.0, real=count, contrast=0.0)
    others = [at(place, says=0.0, real=count, contrast=0.5) for place in {count // 2, count - 1}]
    others.append(at(0, says=1.0, real=1, contrast=1.0))
    same = patients.images[:1].expand_as(patients.images)
    target = patients.target[:1].expand_as(patients.target)
    others.append(way.clipped_sum(module, loss, Patients(same, target, count), HUGE).total / count)  # at all places
    return all(bool((total - alone).norm() <= tolerated * alone.norm()) for total in others)


def unknown(module: nn.Module) -> nn.Module:
    """A copy with weights that no coordinator has chosen, under which every gradient says something."""
    generator, other = Generator().manual_seed(0), copy.deepcopy(module)
    for weight in other.parameters():
        scale = 1 / math.sqrt(weight[0].numel()) if weight.dim() > 1 else 1.0
        weight.data.copy_(scale * torch.randn(weight.shape, generator=generator))
    return other
