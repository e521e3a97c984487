"""Canary patients: the worst that the threat model has, planted through the interfaces that true patients come by.

A canary's gradient reaches the clip, or beyond, along one coordinate that no other canary has (the Dirac canaries of
Nasr et al. 2023, arXiv 2302.07956): whether it took part shows there and nowhere else, and nothing shows it better. Its
image carries its number; `CanaryGradients` wraps a real way of taking gradients, gives canaries their vectors and
everybody else the true gradient. Both are clipped by the code that hospitals run; sampling, rounding, noise and masks
see no difference.

    >>> int(numbers(picture(7, (1, 8, 8))[None])[0])
    7
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.images import Images, Split
from client.training.gradients.base import Clipped, Loss, PatientGradients, Patients
from client.training.gradients.clip import Rows, clipped_sum, zeros
from client.workbench import Prepared

#: How far beyond the clip a canary's gradient reaches: clipping that does not clip would show; and how far one within.
OVER, JUST = 4.0, 1 - 2.0**-20
#: An image begins with the bits of its number, the same bits the other way round, and MARKS values of MARK.
BITS, MARKS, MARK = 24, 16, 0.625
CODE = 2 * BITS + MARKS


def picture(number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The image of canary `number`, float32 `shape` of at least CODE values."""
    bits = number >> np.arange(BITS) & 1
    image = np.zeros(shape, np.float32)
    image.reshape(-1)[:CODE] = np.concatenate([bits, 1 - bits, np.full(MARKS, MARK)])
    return image


def numbers(images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Whose each image [n, …] is: a canary's number, or −1."""
    code = images.reshape(len(images), math.prod(images.shape[1:]))[:, :CODE]
    bits, others, marks = np.split(code, [BITS, 2 * BITS], axis=1)
    whole = np.isin(bits, (0, 1)).all(axis=1) & (bits + others == 1).all(axis=1) & (marks == MARK).all(axis=1)
    found = (bits @ (1 << np.arange(BITS))).astype(np.int64)
    return np.where(whole, found, -1)


def with_canaries(prepared: Prepared, planted: NDArray[np.int64]) -> Prepared:
    """The hospital's images and, after them, one image of one training patient for each number in `planted`."""
    images = prepared.images
    shape, patients = images.pixels.shape[1:], len(images.keys)
    added = [picture(int(number), shape) for number in planted]
    every = np.arange(len(images.target))
    return Prepared(
        Images(
            pixels=np.concatenate([images.tensors(every), *([np.stack(added)] if added else [])]),
            target=np.concatenate([images.target, np.zeros(len(planted), np.int64)]),
            patient=np.concatenate([images.patient, patients + np.arange(len(planted))]),
            keys=(*images.keys, *(b"canary" + int(number).to_bytes(26, "big") for number in planted)),
            split=np.concatenate([images.split, np.full(len(planted), Split.TRAIN, np.int64)]),
        ),
        prepared.counts,
    )


@dataclass(frozen=True)
class CanaryGradients:
    """A way of taking gradients: canary k's is OVER × clip along weight `places[k]` (in the order of the trained
    `module.parameters()`), everybody else's is `inner`'s. Of the canaries a share `inside` stays just within the clip,
    so that an adaptive one stays where it is."""

    inner: PatientGradients
    places: NDArray[np.int64]
    inside: float = 0.0

    @property
    def name(self) -> str:
        """As logs call it."""
        return f"{self.inner.name} with canaries"

    def fits(self, module: nn.Module) -> bool:
        """Where `inner` does."""
        return self.inner.fits(module)

    def clipped_sum(self, module: nn.Module, loss: Loss, patients: Patients, clip: float) -> Clipped:
        """See `PatientGradients`."""
        whose = numbers(patients.images[: patients.real, 0].cpu().numpy())
        canaries, others = whose[whose >= 0], torch.from_numpy(np.flatnonzero(whose < 0))
        total, within = zeros(module, patients.images.device), 0
        if len(others):
            found = self.inner.clipped_sum(module, loss, _only(patients, others), clip)
            total, within = found.total, found.within
        if len(canaries):
            # on the canaries' own coordinates alone, [canaries, canaries]: elsewhere their gradients are 0
            own, reach = total.new_zeros(len(canaries)), np.where(self._inside(canaries), JUST, OVER) * clip
            parts = [(slice(0, len(canaries)), Rows(torch.from_numpy(np.diag(reach)).to(own)))]
            within += clipped_sum(parts, own, clip=clip, real=len(canaries))
            total[torch.from_numpy(self.places[canaries]).to(total.device)] += own
        return Clipped(total, within)

    def _inside(self, canaries: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Evenly spread over the numbers: multiples of the golden ratio."""
        return canaries * ((math.sqrt(5) - 1) / 2) % 1 < self.inside


def _only(patients: Patients, chosen: Tensor) -> Patients:
    """The patients `chosen`, the shape filled up as it was."""
    order = torch.cat([chosen, chosen[:1].expand(len(patients.target) - len(chosen))])
    return Patients(patients.images[order], patients.target[order], len(chosen))
