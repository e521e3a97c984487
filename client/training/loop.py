"""One round of local training at one hospital, private or not. Arrays in, changed weights out; no I/O.

Private (PRIVACY.md, one private step): exactly `training.local_steps` steps; in each, patients are
Poisson-sampled at the public rate, per-patient gradients clipped to C and summed, N(0, σ²C²) added even if nobody
was drawn, the sum divided by the public `training.batch`. Nothing returned depends on the data but the weights.

Neighbouring: all images of one patient added or removed. Participation: each patient in every step with
probability `privacy.sampling_rate`, so one round is `local_steps` sampled Gaussian mechanisms of multiplier
`sigma`. Charging the ledger for them, before this is called, is the caller's duty.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from opacus.validators import ModuleValidator
from torch import Generator, Tensor, nn

from client.images import Images, Split
from client.training.batches import Batch, Rows, gather, shuffled
from client.training.gradients import Loss, clipped_sum
from client.training.noise import SecureStream, add_noise, poisson_sample
from shared.errors import InputError, MisuseError, SiteError
from shared.models.layers import Output
from shared.study import Privacy, Study, Training


@dataclass(frozen=True)
class Diagnostics:
    """What a round may tell: `steps` made, `seconds` taken, and the mean training `loss` (None when private)."""

    steps: int
    seconds: float
    loss: float | None


@dataclass(frozen=True)
class _Work:
    """What every step of one round needs; `groups` are the rows of each training patient."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    images: Images
    groups: tuple[Rows, ...]
    training: Training
    generator: Generator

    def batch(self, chosen: Rows) -> Batch:
        """The images of the patients `chosen`, at least one, augmented."""
        return gather(
            self.images,
            [self.groups[i] for i in chosen],
            copies=self.training.copies,
            augmentation=self.training.augmentation,
            generator=self.generator,
            device=next(self.module.parameters()).device,
        )


def train(
    module: nn.Module,
    images: Images,
    study: Study,
    *,
    round: int,
    sigma: float | None,
    class_weights: Sequence[float] | None = None,
    seed: int = 0,
) -> Diagnostics:
    """Train `module` in place on the training patients of `images`, as `study` says for `round` (1, 2, …).

    `sigma` is the noise multiplier, None exactly when `study.privacy.mode` is "off". `class_weights` scales the
    loss of each label; they must be public in private mode. `seed` (with `round`) fixes order and augmentation in
    plain mode. In private mode nothing is fixed: under a known seed one patient more would shift the augmentation of
    all patients after it, and the sensitivity would no longer be C. Drawn afresh, augmentation is the same for the
    others in distribution, and by joint convexity the guarantee holds.
    Raises InputError for a model that mixes the images of a batch, SiteError without training images.
    """
    if (sigma is None) != (study.privacy.mode == "off"):
        raise MisuseError("sigma", expected=f'what privacy.mode "{study.privacy.mode}" needs', got=str(sigma))
    started = time.perf_counter()
    module.train()
    work = _Work(
        module=module,
        optimizer=_optimizer(module, study.training, round),
        loss=_loss(class_weights),
        images=images,
        groups=images.by_patient(Split.TRAIN),
        training=study.training,
        generator=_generator(seed, round) if sigma is None else _unseeded(),
    )
    if sigma is None:
        steps, mean = _plain(work)
        return Diagnostics(steps, time.perf_counter() - started, mean)
    steps = _private(work, study.privacy, sigma)
    return Diagnostics(steps, time.perf_counter() - started, None)


def learning_rate(training: Training, round: int) -> float:
    """The rate of `round` (1 … rounds): constant, or along a cosine from the full rate down to a tenth."""
    if training.schedule == "constant" or training.rounds == 1:
        return training.learning_rate
    done = min(1.0, (round - 1) / (training.rounds - 1))
    return training.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def _plain(work: _Work) -> tuple[int, float]:
    """Steps made, and the mean loss of the images seen."""
    if not work.groups:
        raise SiteError("training", expected="at least one training image", got="none", do="Check labels and split.")
    half = work.training.precision == "bfloat16"
    device = next(work.module.parameters()).device.type
    total, seen, steps = 0.0, 0, 0
    for chosen in _plain_steps(len(work.groups), work.training, work.generator):
        batch = work.batch(chosen)
        images = batch.images.contiguous(memory_format=torch.channels_last) if half else batch.images
        with torch.autocast(device, torch.bfloat16, enabled=half):
            output = work.module(images)
        losses = work.loss(output, batch.label)  # [n]
        work.optimizer.zero_grad()
        torch.autograd.backward(losses.mean())
        work.optimizer.step()
        total, seen, steps = total + float(losses.detach().sum()), seen + len(losses), steps + 1
    return steps, total / seen


def _plain_steps(count: int, training: Training, generator: Generator) -> Iterator[Rows]:
    """The patients of each step: `local_steps` of them, or `local_epochs` passes over all `count`."""
    steps = training.local_steps or (training.local_epochs or 0) * -(-count // training.batch)
    passes = shuffled(count, training.batch, generator)
    for _ in range(steps):
        yield next(passes)


def _private(work: _Work, privacy: Privacy, sigma: float) -> int:
    """Steps made: always `local_steps`."""
    steps, rate, clip = work.training.local_steps, privacy.sampling_rate, privacy.clip
    if steps is None or rate is None or clip is None:
        raise MisuseError("study", expected="local_steps, sampling_rate and clip", got="a private study without")
    _check_private(work.module)
    stream = SecureStream()
    for _ in range(steps):
        drawn = poisson_sample(len(work.groups), rate, stream)
        if len(drawn):
            total = clipped_sum(work.module, work.loss, work.batch(drawn), clip).cpu().numpy()
        else:  # noise is due all the same: an empty sample must not show
            total = np.zeros(sum(p.numel() for p in _trainable(work.module)))
        _set_gradient(work.module, add_noise(total, clip, sigma, stream) / work.training.batch)
        work.optimizer.step()
    return steps


def _check_private(module: nn.Module) -> None:
    problems = ModuleValidator.validate(module, strict=False)
    if problems:
        raise InputError(
            "model.name",
            expected="a model that treats each image on its own when privacy is on",
            got=str(problems[0]),
            do="Choose a model with GroupNorm.",
        )


def _set_gradient(module: nn.Module, gradient: NDArray[np.float64]) -> None:
    """Give each trainable parameter its piece of the flat [d]."""
    start = 0
    for parameter in _trainable(module):
        piece = gradient[start : start + parameter.numel()]
        parameter.grad = torch.from_numpy(piece).to(parameter).reshape(parameter.shape)
        start += parameter.numel()


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _loss(class_weights: Sequence[float] | None) -> Loss:
    def loss(output: Tensor | Output, label: Tensor) -> Tensor:
        logits, penalty = output if isinstance(output, Output) else (output, 0.0)
        logits = logits.float()
        weight = None if class_weights is None else logits.new_tensor(list(class_weights))
        return F.cross_entropy(logits, label, weight=weight, reduction="none") + penalty

    return loss


def _optimizer(module: nn.Module, training: Training, round: int) -> torch.optim.Optimizer:
    rate = learning_rate(training, round)
    if training.optimizer == "adam":
        return torch.optim.Adam(_trainable(module), lr=rate, weight_decay=training.weight_decay)
    return torch.optim.SGD(_trainable(module), lr=rate, momentum=training.momentum, weight_decay=training.weight_decay)


def _unseeded() -> Generator:
    return Generator().manual_seed(int.from_bytes(os.urandom(8), "big") >> 1)


def _generator(seed: int, round: int) -> Generator:
    state = int(np.random.SeedSequence([seed, round]).generate_state(1, np.uint64)[0])
    return Generator().manual_seed(state & (2**63 - 1))
