"""The quickest way for a model, an image's shape and a device, found by a short measurement on made-up images.

Every way that fits is tried at the fixed shape it would be used at, and is used only if a patient's gradient is there
the same to the bit wherever and with whomever it is computed (`precision.py` says why); `Loop`, which computes each by
itself, always is. Nothing here looks at anybody's data.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from client.training.gradients.base import Loss, PatientGradients, Patients
from client.training.gradients.clip import trained
from client.training.gradients.hooks import Hooks
from client.training.gradients.independence import BITWISE, independent, unknown
from client.training.gradients.layers import Layers
from client.training.gradients.loop import Loop
from client.training.gradients.precision import Precise, Precision
from client.training.gradients.vmap import Vmap
from shared.errors import SiteError

WAYS: tuple[PatientGradients, ...] = (Layers(), Loop(), Vmap(), Hooks())

#: Images in a chunk, at most: more are no quicker, and fill memory.
MOST = 32
#: Times what a way is known to keep, for what it needs on the way (measured: benchmarks/private_step.py).
SPARE = 1.5
#: A way so many times slower than the best so far is measured no further.
HOPELESS = 1.5
REPETITIONS = 3
#: Draws of made-up images by which independence is judged.
LOOKS = 4
#: Patients that are enough to see what there is to see.
FEW = 4


@dataclass(frozen=True)
class Choice:
    """`way`, for chunks of `at_once` patients with one image; `seconds` that each way tried took for a patient."""

    way: PatientGradients
    at_once: int
    seconds: Mapping[str, float]

    @property
    def line(self) -> str:
        """For the log."""
        taken = ", ".join(f"{name} {1e3 * value:.1f}" for name, value in self.seconds.items())
        return f"per-patient gradients by {self.way.name}, {self.at_once} images at once (ms per patient: {taken})"


@dataclass(frozen=True)
class Example:
    """What one image is to the network: `shape` [C, (D,) H, W] of it, and a `target` [...] as the loss takes it."""

    shape: tuple[int, ...]
    target: Tensor

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others."""
        return self.shape, tuple(self.target.shape), self.target.dtype

    def made(self, count: int, images: int, device: torch.device, *, seed: int = 0) -> Patients:
        """`count` patients with `images` images each, made up from `seed`."""
        pixels = torch.rand(count, images, *self.shape, generator=Generator().manual_seed(seed)).to(device)
        return Patients(pixels, self.target.to(device).expand(count, images, *self.target.shape).contiguous(), count)


_found: dict[tuple[object, ...], Choice] = {}


def fastest(
    module: nn.Module,
    loss: Loss,
    *,
    images: int,
    example: Example,
    device: torch.device,
    precision: Precision,
    limit_bytes: int,
) -> Choice:
    """The quickest way for patients with `images` images like `example` each, on `device`, whose memory,
    weights and activations included, stays below `limit_bytes`. Remembered in this process.

    Raises SiteError where not even one patient fits.
    """
    weights = tuple((name, tuple(p.shape), p.requires_grad) for name, p in module.named_parameters())
    key = (str(module), weights, images, example.key, str(device), precision, limit_bytes)
    if key not in _found:
        _found[key] = _measure(
            module, loss, images=images, example=example, device=device, precision=precision, limit_bytes=limit_bytes
        )
    return _found[key]


def _measure(
    module: nn.Module,
    loss: Loss,
    *,
    images: int,
    example: Example,
    device: torch.device,
    precision: Precision,
    limit_bytes: int,
) -> Choice:
    tried, seconds = dict[str, tuple[Precise, int]](), dict[str, float]()
    for way in _ways(module, precision):
        count = at_once(way, module, loss, example.made(1, images, device), limit_bytes)
        if not count:
            continue
        tried[way.name] = way, count
        some = min(count, FEW) if way.way.name == "loop" else count  # it takes them one by one anyway
        limit = HOPELESS * min(seconds.values(), default=math.inf)
        seconds[way.name] = _seconds(way, module, loss, example.made(some, images, device), limit)
    probe = unknown(module)
    for name in sorted(seconds, key=seconds.__getitem__):
        way, count = tried[name]
        if way.way.name == "loop" or _always(
            way, probe, loss, example, most=images, at_once=count * images, device=device
        ):
            return Choice(way, count * images, seconds)
    raise SiteError(
        "memory for private training",
        expected="room for one patient",
        got=f"{limit_bytes >> 20} MiB",
        do="Raise the limit, or take smaller images or fewer of each patient.",
    )


def _always(
    way: Precise,
    module: nn.Module,
    loss: Loss,
    example: "Example",
    *,
    most: int,
    at_once: int,
    device: torch.device,
) -> bool:
    """`independent`, at the shape of every number of images up to `most` (chunks.py), of LOOKS draws of made-up images:
    some arithmetic differs for some images only."""
    return all(
        independent(way, module, loss, example.made(max(1, at_once // each), each, device, seed=seed), BITWISE)
        for each in range(1, most + 1)
        for seed in range(LOOKS)
    )


def _ways(module: nn.Module, precision: Precision) -> Iterator[Precise]:
    precisions: tuple[Precision, ...] = ("float32",) if precision == "float32" else ("bfloat16", "float32")
    for exact in precisions:
        yield from (Precise(way, exact) for way in WAYS if way.fits(module))


def at_once(way: PatientGradients, module: nn.Module, loss: Loss, patient: Patients, limit_bytes: int) -> int:
    """Patients like this one in a chunk, a power of two, that `way` has room for; 0 where not even one fits."""
    images = patient.target.shape[1]
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    gradient = sum(p.numel() * p.element_size() for p in trained(module))
    activations = SPARE * _kept_bytes(module, loss, patient)
    of_hooks = images if way.name.startswith("hooks") else 0
    for count in sorted({1 << k for k in range(MOST.bit_length()) if 1 << k <= max(1, MOST // images)}, reverse=True):
        several = 1 if way.name.startswith("loop") else count
        total = 2 * gradient  # the sum, float64
        if weights + total + several * (activations + (1 + of_hooks) * gradient) <= limit_bytes:
            return count
    return 0


def _seconds(way: PatientGradients, module: nn.Module, loss: Loss, patients: Patients, limit: float) -> float:
    """For a patient, the least of a few times, the first of them for the caches; fewer where that is beyond `limit`."""
    least = math.inf
    for repetition in range(1 + REPETITIONS):
        _wait(patients.images.device)
        started = time.perf_counter()
        way.clipped_sum(module, loss, patients, 1.0)
        _wait(patients.images.device)
        least = min(least, (time.perf_counter() - started) / len(patients.target))
        if least > (limit if repetition else 2 * limit):
            break
    return least


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _kept_bytes(module: nn.Module, loss: Loss, patient: Patients) -> int:
    """What a forward pass of one patient keeps for the backward pass, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = loss(module(patient.images.flatten(0, 1)), patient.target.flatten(0, 1))
    del losses
    return sum(kept.values())
