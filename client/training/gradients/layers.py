"""One batched pass, with the weights' gradients taken layer by layer and patient by patient: the quickest way mostly.

Every patient is given weights of its own that are all the same memory. Forward, a layer computes with the shared
ones, so images of all patients go through it in one batch; backward, it takes the gradient of its input in one batch
too, and returns one gradient for each patient's weights, from the inputs and outputs' gradients of its images. That is
book-keeping (Bu et al. 2022, arXiv 2210.00038) by patient in place of by image: no second backward pass.
Dense weights seen at few places are left as products (`Products`; "mixed": Bu, Mao, Xu 2022, arXiv 2205.10683).

Knows convolutions, standardised ones, dense layers, GroupNorm and LayerNorm; no other layer may hold weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from client.training.gradients.base import Clipped, Loss, Patients
from client.training.gradients.clip import RUN, Joined, Part, Rows, clipped_sum, places, zeros
from client.training.gradients.own import KINDS, Own
from shared.errors import MisuseError


class Layers:
    """The way described above."""

    name = "layers"

    def fits(self, module: nn.Module) -> bool:
        """Whether all trained weights lie in layers it knows, none in two."""
        holders = [layer for layer in module.modules() if any(p.requires_grad for p in layer.parameters(recurse=False))]
        owned = [id(p) for layer in holders for p in layer.parameters(recurse=False)]
        return len(owned) == len(set(owned)) and all(
            type(layer) in KINDS and KINDS[type(layer)].fits(layer) for layer in holders
        )

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        """See `PatientGradients`."""
        count, each = patients.target.shape[:2]
        where, parts = places(module), list[tuple[slice, Part]]()
        if count and where:
            own = Own(count)
            with _replaced(module, own):
                losses = loss(module(patients.images.flatten(0, 1)), patients.target.flatten(0, 1))  # [p m]
            parts = _parts(where, own, losses.sum() / each)
            del losses, own
        total = zeros(module, patients.images.device)  # not before: memory is fullest when the backward pass begins
        return Clipped(total, clipped_sum(parts, total, clip=clip, real=patients.real) if parts else 0)


def _parts(where: Mapping[Tensor, slice], own: Own, loss: Tensor) -> list[tuple[slice, Part]]:
    leaves = [(weight, leaf) for weight, leaf in own.leaves.items() if leaf.requires_grad]
    found = torch.autograd.grad(loss, [leaf for _, leaf in leaves] + list(where), allow_unused=True)
    if any(gradient is not None for gradient in found[len(leaves) :]):
        raise MisuseError("a weight", expected="to be used by its own layer alone", got="another use in the model")
    parts: list[tuple[slice, Part]] = [(where[weight], product) for weight, product in own.products]
    small = list[tuple[slice, Tensor]]()
    for (weight, _), gradient in zip(leaves, found, strict=False):
        if gradient is not None:
            values = own.finish(weight, gradient).reshape(own.patients, -1)
            if values.shape[1] <= RUN:  # there are many, and each would cost a dozen calls
                small.append((where[weight], values))
            else:
                parts.append((where[weight], Rows(values)))
    if small:
        joined = Joined(Rows(torch.cat([values for _, values in small], dim=1)), tuple(place for place, _ in small))
        parts.append((slice(None), joined))
    return parts


@contextmanager
def _replaced(module: nn.Module, own: Own) -> Iterator[None]:
    """Within, layers with trained weights compute by `own`."""
    changed = [layer for layer in module.modules() if any(p.requires_grad for p in layer.parameters(recurse=False))]
    try:
        for layer in changed:
            layer.__dict__["forward"] = KINDS[type(layer)].bind(layer, own)
        yield
    finally:
        for layer in changed:
            layer.__dict__.pop("forward", None)
