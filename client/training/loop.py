"""One round of local training at one hospital, private or not. Arrays in, changed weights out; no I/O.

Private, mode "local": exactly `training.local_steps` private steps (client/training/private.py), each with all the
noise, the noisy sum divided by the public `training.batch`. Nothing returned depends on the data but the weights.

Neighbouring: all images of one patient added or removed. Participation: each patient in every step with
probability `privacy.sampling_rate`, so one round is `local_steps` sampled Gaussian mechanisms of multiplier
`sigma`. Charging the ledger for them, before this is called, is the caller's duty.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from client.images import Images, Split
from client.privacy.release import release
from client.privacy.stream import SecureStream
from client.training.algorithms.pull import Pull
from client.training.batches import Rows, balanced, gather, shuffled
from client.training.features import observe
from client.training.given import given_of
from client.training.gradients.base import Loss
from client.training.gradients.choose import Choice
from client.training.private import Bench, Release, choose, local_mechanism
from shared import optimiser
from shared.errors import MisuseError, SiteError
from shared.mechanism import Mechanism
from shared.models.layers import Output
from shared.optimiser import learning_rate
from shared.parameters import layout_of, load_part, to_vector
from shared.study import Study, Training
from shared.tasks.base import Kind, blank
from shared.tasks.registry import kind_of

#: Both of two labels weigh the same.
EQUAL = (1.0, 1.0)


@dataclass(frozen=True)
class Diagnostics:
    """What a round may tell: `steps` made, `seconds` taken, and the mean training `loss` (None when private)."""

    steps: int
    seconds: float
    loss: float | None


def train(
    module: nn.Module,
    images: Images,
    study: Study,
    *,
    round: int,
    class_weights: Sequence[float] = EQUAL,
    seed: int = 0,
    pull: Pull | None = None,
) -> Diagnostics:
    """Train `module` in place on the training patients of `images`, not private, as `study` says for `round` (1, 2, …).

    `class_weights` scales the loss of each label. `seed` (with `round`) fixes order and augmentation. `pull`: what
    the study's algorithm adds to the loss. Raises SiteError without training images.
    """
    if study.privacy.mode != "off":
        raise MisuseError("study", expected='privacy.mode "off"', got=study.privacy.mode)
    groups, training = images.by_patient(Split.TRAIN), study.training
    if not groups:
        raise SiteError("training", expected="at least one training image", got="none", do="Check labels and split.")
    started = time.perf_counter()
    module.train()
    kind, given, generator = kind_of(study), given_of(study), _generator(seed, round)
    optimizer, loss = _optimizer(module, training, round), loss_of(kind, class_weights)
    half, device = training.precision == "bfloat16", next(module.parameters()).device
    add_pull = (pull or Pull()).onto(module)
    total, seen, steps = 0.0, 0, 0
    for chosen in _plain_steps(images, groups, study, generator):
        batch = gather(
            images,
            [groups[i] for i in chosen],
            copies=training.copies,
            generator=generator,
            device=device,
            images_per_patient=training.images_per_patient,
        )
        pixels, target = given(batch.images, batch.target, generator)
        if half and pixels.dim() == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output = module(pixels)
        losses = loss(output, target)  # [n]
        optimizer.zero_grad()
        torch.autograd.backward(losses.mean())
        add_pull()
        optimizer.step()
        total, seen, steps = total + float(losses.detach().sum()), seen + len(losses), steps + 1
    observe(module, images)
    return Diagnostics(steps, time.perf_counter() - started, total / seen)


def train_private(
    module: nn.Module,
    images: Images,
    study: Study,
    *,
    round: int,
    sigma: float,
    class_weights: Sequence[float] = EQUAL,
    choice: Choice | None = None,
    release: Release = release,
    pull: Pull | None = None,
) -> Diagnostics:
    """Train `module` in place as a study of mode "local" says for `round` (1, 2, …). `sigma` is the noise multiplier,
    `class_weights` must be public. Nothing is seeded. `pull` depends on weights alone, and costs nothing. Raises
    InputError for a model that mixes the images of a batch.
    """
    steps, training = study.training.local_steps, study.training
    if study.privacy.mode != "local" or steps is None:
        raise MisuseError("study", expected='privacy.mode "local" and local_steps', got=study.privacy.mode)
    started = time.perf_counter()
    bench = bench_of(module, images, study, class_weights=class_weights, choice=choice, release=release)
    layout = layout_of(module)
    mechanism = local_mechanism(study.privacy.clip or 0.0, sigma, layout.moving)
    state = optimiser.init(layout.part(to_vector(module)), training.optimizer)
    for _ in range(steps):
        gradient = bench.step(mechanism) * (mechanism.grid / training.batch)
        gradient += (pull or Pull()).at(state.weights)
        state = optimiser.apply(state, gradient, optimiser.Settings.of(training), rate=learning_rate(training, round))
        load_part(module, state.weights)
    return Diagnostics(steps, time.perf_counter() - started, None)


def step_private(
    module: nn.Module,
    images: Images,
    study: Study,
    mechanism: Mechanism,
    *,
    class_weights: Sequence[float] = EQUAL,
    choice: Choice | None = None,
    release: Release = release,
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """One step of mode "distributed": this hospital's noisy integers, int64 [mechanism.entries]."""
    return bench_of(module, images, study, class_weights=class_weights, choice=choice, release=release).step(mechanism)


def bench_of(
    module: nn.Module,
    images: Images,
    study: Study,
    *,
    class_weights: Sequence[float],
    choice: Choice | None,
    release: Release = release,
) -> Bench:
    """What the private steps of a round of `study` need; fresh randomness. `choice`, or the way measured quickest."""
    rate = study.privacy.sampling_rate
    if rate is None:
        raise MisuseError("study", expected="sampling_rate", got="a private study without")
    module.train()
    loss = loss_of(kind_of(study), class_weights)
    return Bench(
        module=module,
        loss=loss,
        images=images,
        groups=images.by_patient(Split.TRAIN),
        given=given_of(study),
        training=study.training,
        rate=rate,
        adaptive=study.privacy.clip_quantile is not None,
        stream=SecureStream(),
        choice=choice or choose(module, loss, given_shape(study, images), study),
        release=release,
    )


def loss_of(kind: Kind, class_weights: Sequence[float]) -> Loss:
    """The loss of `kind` per image, with one weight per label."""

    def loss(output: Tensor | Output, target: Tensor) -> Tensor:
        return kind.loss(output, target, class_weights)

    return loss


def given_shape(study: Study, images: Images) -> tuple[int, ...]:
    """Of what the network is given of one of `images`, [C, …]: features as they are, images as the kind makes them."""
    shape, kind = images.pixels.shape[1:], kind_of(study)
    if len(shape) == 1:
        return shape
    target = torch.from_numpy(blank(study, kind.target)[None])
    return tuple(kind.example(torch.zeros(1, *shape), target, Generator().manual_seed(0))[0].shape[1:])


def _plain_steps(images: Images, groups: Sequence[Rows], study: Study, generator: Generator) -> Iterator[Rows]:
    """The patients of each step: `local_steps` of them, or as many as `local_epochs` passes over all `groups` have."""
    training, count = study.training, len(groups)
    steps = training.local_steps or (training.local_epochs or 0) * -(-count // training.batch)
    if training.sampling == "balanced":
        kind = kind_of(study)
        present = np.stack([kind.presence(images.target[rows]).any(axis=0) for rows in groups])
        passes = balanced(present, training.batch, generator)
    else:
        passes = shuffled(count, training.batch, generator)
    for _ in range(steps):
        yield next(passes)


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _optimizer(module: nn.Module, training: Training, round: int) -> torch.optim.Optimizer:
    rate = learning_rate(training, round)
    if training.optimizer == "adam":
        return torch.optim.Adam(_trainable(module), lr=rate, weight_decay=training.weight_decay)
    return torch.optim.SGD(_trainable(module), lr=rate, momentum=training.momentum, weight_decay=training.weight_decay)


def _generator(seed: int, round: int) -> Generator:
    state = int(np.random.SeedSequence([seed, round]).generate_state(1, np.uint64)[0])
    return Generator().manual_seed(state & (2**63 - 1))
