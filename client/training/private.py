"""One private step at one hospital: from its patients to noisy integers, in the order of PRIVACY.md.

1. Each patient is drawn with the study's public rate, on its own. 2. Per patient drawn: the gradient of the mean loss
over its images and their augmented copies, clipped to C. 3. Sum. 4. Noise, also when nobody was drawn. What divides
the sum by a public constant, and moves the model, comes after: it sees nothing else of the images.

Unit: patient. Norm: L2. Sensitivity: the mechanism's, whatever the data. Neighbouring: all images of one patient added
or removed. Participation: each patient in every step with probability `privacy.sampling_rate`; one call is one sampled
Gaussian mechanism of multiplier `mechanism.noise_multiplier`, if `mechanism.honest` hospitals add their shares.
Charging the ledger, before, is the caller's duty.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.validators import ModuleValidator
from torch import Generator, nn

from client.images import Images
from client.privacy.release import release
from client.privacy.stream import SecureStream, poisson_sample
from client.training.batches import Rows
from client.training.given import Given
from client.training.gradients.base import Loss
from client.training.gradients.choose import Choice, Example, fastest
from client.training.gradients.chunks import chunks
from shared.clipping import bit_entry, gradient_clip
from shared.errors import InputError
from shared.mechanism import Mechanism
from shared.parameters import in_layout_order
from shared.study import Study, Training
from shared.tasks.base import blank
from shared.tasks.registry import kind_of

#: Adds the noise; the audit takes it away to see that it notices.
Release = Callable[[NDArray[np.float64], Mechanism, SecureStream], NDArray[np.int64]]

#: Bytes that the model and all that is made of the patients looked at together may take.
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Bench:
    """What every private step of one round needs; `groups` are the rows of each training patient."""

    module: nn.Module
    loss: Loss
    images: Images
    groups: tuple[Rows, ...]
    given: Given
    training: Training
    rate: float
    adaptive: bool
    stream: SecureStream
    choice: Choice
    release: Release = release

    def step(self, mechanism: Mechanism) -> NDArray[np.int64]:
        """This hospital's integers, int64 [mechanism.entries], in the order of the layout's part."""
        drawn = poisson_sample(len(self.groups), self.rate, self.stream)
        total, within = self._sum(drawn, gradient_clip(mechanism.clip) if self.adaptive else mechanism.clip)
        if self.adaptive:
            total = np.append(total, bit_entry(mechanism.clip, within=within, drawn=len(drawn)))
        return self.release(total, mechanism, self.stream)

    def _sum(self, drawn: Rows, clip: float) -> tuple[NDArray[np.float64], int]:
        """Σ of the clipped gradients [d] of the patients `drawn`, and how many were whole; zeros if nobody was."""
        total = np.zeros(sum(p.numel() for p in self.module.parameters() if p.requires_grad))
        within = 0
        for patients in chunks(
            self.images,
            [self.groups[i] for i in drawn],
            at_once=self.choice.at_once,
            images_per_patient=self.training.images_per_patient,
            copies=self.training.copies,
            given=self.given,
            words=[int(word) for word in self.stream.words(len(drawn)) >> np.uint64(1)],
            device=next(self.module.parameters()).device,
        ):
            found = self.choice.way.clipped_sum(self.module, self.loss, patients, clip)
            total += found.total.cpu().numpy()
            within += found.within
        return in_layout_order(self.module, total), within


def choose(module: nn.Module, loss: Loss, shape: tuple[int, ...], study: Study) -> Choice:
    """The quickest way to take per-patient gradients of `module` on what it is given, of `shape` [C, …] each, by a
    short measurement on made-up images: what a hospital holds has no say in it. Raises InputError for a model that
    mixes a batch's images.
    """
    check_private(module)
    training = study.training
    return fastest(
        module,
        loss,
        images=training.images_per_patient * training.copies,
        example=Example(shape, _target_of(study)),
        device=next(module.parameters()).device,
        precision=training.precision,
        limit_bytes=MOST_BYTES,
    )


def _target_of(study: Study) -> torch.Tensor:
    """A made-up target as the loss takes it."""
    kind, pixels = kind_of(study), torch.zeros(1, *study.input.shape)
    _, target = kind.example(pixels, torch.from_numpy(blank(study, kind.target)[None]), Generator().manual_seed(0))
    return target[0]


def check_private(module: nn.Module) -> None:
    """Raise InputError unless `module` treats each image on its own."""
    problems = ModuleValidator.validate(module, strict=False)
    if problems:
        raise InputError(
            "model.name",
            expected="a model that treats each image on its own when privacy is on",
            got=str(problems[0]),
            do="Choose a model with GroupNorm.",
        )


def local_mechanism(clip: float, sigma: float, entries: int) -> Mechanism:
    """All the noise by this hospital alone. Raises InputError where 32 bits do not hold the sum."""
    try:
        return Mechanism(clip=clip, noise_multiplier=sigma, entries=entries, honest=1, sites=1)
    except ValueError as error:
        raise InputError("study.toml: privacy", expected="noise that a sum holds", got=str(error)) from None
