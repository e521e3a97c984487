"""Arithmetic that a private step may use: one patient's gradient must not depend on who else was drawn.

Clipping bounds what a patient adds to the sum. It does not bound what a patient *more* does to the rounding of all the
others' gradients, which in bfloat16 (2^-9 of every number) could be many times the clip. So:

- Every gradient is computed at a fixed shape (`chunks.py`), and norms, clipping and sums are float64 (`clip.py`).
- A way is used only where a patient's gradient was seen to be the same, to the bit, at another place among other
  patients (`choose.py`); one patient at a time (`Loop`) always is. Then whoever else is drawn changes nothing of it,
  and rounding, in bfloat16 too, is part of what the patient's own gradient is. What is left is the order in which
  float64 numbers are added, far below the share of the clip that the mechanism allows for (ARITHMETIC).
- TF32 (2^-11) stays off in float32, and cuDNN's kernels are the deterministic ones, chosen by the shape and not by a
  race.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from client.training.gradients.base import Clipped, Loss, PatientGradients, Patients

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Precise:
    """`way` in `precision`: itself a way."""

    way: PatientGradients
    precision: Precision

    @property
    def name(self) -> str:
        """Of the way, and of the precision if it is not float32."""
        return self.way.name if self.precision == "float32" else f"{self.way.name} in {self.precision}"

    def fits(self, module: nn.Module) -> bool:
        """As the way does."""
        return self.way.fits(module)

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        """See `PatientGradients`."""
        with arithmetic(patients.images.device, self.precision):
            return self.way.clipped_sum(module, loss, patients, clip)


@contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Within, the passes round as `precision` says and no more; the device's settings are put back."""
    with ExitStack() as stack:
        torch.set_flush_denormal(True)  # of this thread: such numbers are slow, and a step's time would tell of them
        stack.callback(torch.set_flush_denormal, False)
        if device.type == "cuda":
            flags = torch.backends.cudnn.flags
            stack.enter_context(flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False))
            before = torch.backends.cuda.matmul.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = False
            stack.callback(setattr, torch.backends.cuda.matmul, "allow_tf32", before)
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"))
        yield
