"""What a way of taking per-patient gradients must do, and what it may rely on.

Every way gives the same sum to 1e-6; which one is used is a matter of speed and memory (`choose.py`).
Unit: the patient. For each patient p, g_p is the gradient of the mean loss over p's m images (augmented copies among
them); the result is Σ_p g_p · min(1, C / ‖g_p‖₂), flat, in the order of `module.parameters()` that require a gradient.
Norm: L2 over all of them together. Sensitivity: C, whatever the data; a patient whose gradient is not finite
contributes zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from shared.models.layers import Output

#: What the model returns in training mode and targets [n, …] → one loss per image, [n].
Loss = Callable[[Tensor | Output, Tensor], Tensor]


@dataclass(frozen=True)
class Patients:
    """Patients of one step with equally many images each: `images` float32 [p, m, C, (D,) H, W], `target` [p, m, …].

    The first `real` of the p count; the others fill the shape up, so that it tells nothing and arithmetic is the same
    whoever else was drawn, and contribute nothing.
    """

    images: Tensor
    target: Tensor
    real: int


@dataclass(frozen=True)
class Clipped:
    """`total` float64 [d] on the images' device: Σ of the clipped gradients; `within`: how many were no longer than the
    clip, and so whole (a patient without a finite gradient is not)."""

    total: Tensor
    within: int


class PatientGradients(Protocol):
    """One way."""

    @property
    def name(self) -> str:
        """As logs and benchmarks call it."""

    def fits(self, module: nn.Module) -> bool:
        """Whether it knows every layer of `module`."""

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        """The sum over `patients`; leaves the module's weights, mode and `.grad` as they were."""
