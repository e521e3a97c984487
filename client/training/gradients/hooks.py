"""Opacus's hooks (Yousefpour et al. 2021, arXiv 2109.12298): one gradient per image, then summed by patient.

Opacus clips what it has per image. Here its per-image gradients are only added up; clipping is by patient (`clip.py`).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from opacus.grad_sample import GradSampleModule
from torch import nn

from client.training.gradients.base import Clipped, Loss, Patients
from client.training.gradients.clip import clipped_sum, rows, trained, zeros


class Hooks:
    """The way described above."""

    name = "hooks"

    def fits(self, module: nn.Module) -> bool:
        """Whether Opacus has its own rule for every layer with trained weights, none shared between two."""
        holders = [layer for layer in module.modules() if any(p.requires_grad for p in layer.parameters(recurse=False))]
        owned = [id(p) for layer in holders for p in layer.parameters(recurse=False)]
        return len(owned) == len(set(owned)) and all(map(_known, holders))

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        """See `PatientGradients`."""
        total, weights = zeros(module, patients.images.device), trained(module)
        count, each = patients.target.shape[:2]
        if not count or not weights:
            return Clipped(total, 0)
        with _hooked(module), warnings.catch_warnings():
            # A layer of something else than the image, a diffusion's time say: its hook is called all the same.
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            # Opacus's hooks of a layer are called only where a gradient flows into its input.
            images = patients.images.flatten(0, 1).detach().clone().requires_grad_()
            losses = loss(module(images), patients.target.flatten(0, 1))
            torch.autograd.grad(losses.sum() / each, [images, *weights], allow_unused=True)
            made = [getattr(weight, "grad_sample", None) for weight in weights]  # [p m, …]
        by_patient = [  # of a layer that sees each image in parts, as slices: one gradient for each part
            torch.zeros(count, w.numel()).to(w) if g is None else g.flatten(1).unflatten(0, (count, -1)).sum(dim=1)
            for w, g in zip(weights, made, strict=True)
        ]
        return Clipped(total, clipped_sum(rows(by_patient, module), total, clip=clip, real=patients.real))


def _known(layer: nn.Module) -> bool:
    # Opacus 1.6.0 fails for a LayerNorm without bias.
    whole = not isinstance(layer, nn.LayerNorm) or layer.bias is not None
    return whole and type(layer) in GradSampleModule.GRAD_SAMPLERS


@contextmanager
def _hooked(module: nn.Module) -> Iterator[None]:
    """Within, a backward pass leaves `grad_sample` at every trained weight; afterwards nothing is left."""
    before = {weight: set(weight.__dict__) for weight in module.parameters()}
    hooks = GradSampleModule(module, loss_reduction="sum", strict=False)
    try:
        yield
    finally:
        hooks.remove_hooks()
        for weight, names in before.items():
            for name in set(weight.__dict__) - names:
                delattr(weight, name)
        for layer in module.modules():
            for name in ("activations", "max_batch_len"):
                layer.__dict__.pop(name, None)
