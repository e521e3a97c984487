"""The sum of per-patient gradients, each clipped: what private training may look at, and nothing finer.

For each patient p, g_p is the gradient of the mean loss over p's images in the batch. The result is
Σ_p g_p · min(1, C / ‖g_p‖₂), flat, in the order of `module.parameters()` that require a gradient.

Norm: L2 over all parameters together. Neighbouring: all images of one patient added or removed. Sensitivity: C,
whatever the data; a patient whose gradient is not finite contributes zero. Modules must treat each image on its
own (no batch statistics): `client.training.loop` checks that.

`clipped_sum` takes many patients at a time (vmap over patients, images padded and masked); `clipped_sum_loop`
is one backward per patient: the oracle in tests, equal to 1e-6.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from client.training.batches import Batch
from shared.models.layers import Output

#: What the model returns in training mode and labels [n] → one loss per image, [n].
Loss = Callable[[Tensor | Output, Tensor], Tensor]

#: Most numbers held as per-patient gradients at a time (256 MiB), and most patients.
MOST_NUMBERS = 1 << 26
MOST_PATIENTS = 64


def clipped_sum(module: nn.Module, loss: Loss, batch: Batch, clip: float) -> Tensor:
    """Σ of clipped per-patient gradients, float64 [d]."""
    parameters = _trainable(module)
    size = sum(p.numel() for p in parameters.values())

    def mean_loss(weights: dict[str, Tensor], images: Tensor, label: Tensor, share: Tensor) -> Tensor:
        # images [m, C, H, W], label [m], share [m]: 1 / (the patient's image count), 0 where padded
        output: Tensor | Output = functional_call(module, weights, (images,))
        return (loss(output, label) * share).sum()

    per_patient = vmap(grad(mean_loss), in_dims=(None, 0, 0, 0))
    total = torch.zeros(size, dtype=torch.float64, device=batch.images.device)
    for images, label, share in _padded(batch, at_once=max(1, min(MOST_PATIENTS, MOST_NUMBERS // size))):
        gradients = per_patient(parameters, images, label, share)
        flat = torch.cat([g.flatten(start_dim=1) for g in gradients.values()], dim=1)  # [patients, d]
        total += _clip_and_add(flat, clip)
    return total


def clipped_sum_loop(module: nn.Module, loss: Loss, batch: Batch, clip: float) -> Tensor:
    """The same, one patient after the other, float64 [d]."""
    parameters = list(_trainable(module).values())
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64, device=batch.images.device)
    for patient in range(batch.patients):
        mine = batch.owner == patient
        mean = loss(module(batch.images[mine]), batch.label[mine]).mean()
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(mean, parameters)])
        total += _clip_and_add(flat[None], clip)
    return total


def _trainable(module: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _clip_and_add(gradients: Tensor, clip: float) -> Tensor:
    """[patients, d] → Σ of the rows, each scaled to an L2 norm of at most `clip`, float64 [d]."""
    wide = gradients.detach().double()
    norms = wide.norm(dim=1)
    finite = torch.isfinite(norms)
    factors = torch.where(finite, (clip / norms.clamp_min(1e-300)).clamp(max=1.0), 0.0)
    return factors @ torch.where(finite[:, None], wide, 0.0)


def _padded(batch: Batch, at_once: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Up to `at_once` patients at a time: images [p, m, C, H, W], label [p, m], share [p, m].

    Patients with equally many images go together, so little is padded.
    """
    counts = torch.bincount(batch.owner, minlength=batch.patients)
    starts = counts.cumsum(0) - counts
    order = counts.argsort(stable=True)
    for first in range(0, batch.patients, at_once):
        chosen = order[first : first + at_once]
        most = int(counts[chosen].max())
        place = torch.arange(most, device=counts.device).expand(len(chosen), most)
        real = place < counts[chosen, None]  # [p, m]
        rows = starts[chosen, None] + torch.where(real, place, 0)  # padding repeats the first image
        yield batch.images[rows], batch.label[rows], real / counts[chosen, None]
