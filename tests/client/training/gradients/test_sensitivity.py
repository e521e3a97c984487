"""Sensitivity under attack: a study with a clip that no arithmetic holds, weights that a lying coordinator chose.

Unit: patient. One patient more may move what is released by the clip, and 2^-10 of it for arithmetic, in L2.
"""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from client.images import Images, Split
from client.privacy.stream import SecureStream
from client.training.given import given_of
from client.training.gradients.base import PatientGradients, Patients
from client.training.gradients.choose import Choice
from client.training.gradients.clip import Rows, clipped_sum
from client.training.gradients.hooks import Hooks
from client.training.gradients.layers import Layers
from client.training.gradients.loop import Loop
from client.training.gradients.precision import Precise, Precision
from client.training.gradients.vmap import Vmap
from client.training.loop import loss_of
from client.training.private import Bench
from shared.clipping import gradient_clip
from shared.mechanism import ARITHMETIC, Mechanism
from shared.network import network_of
from shared.study import MINIMAL, parse_study
from shared.tasks.registry import kind_of

WAYS: tuple[PatientGradients, ...] = (Layers(), Loop(), Vmap(), Hooks())
STUDY = parse_study(MINIMAL)
EQUAL = (1.0, 1.0)


def hospital(pixels: NDArray[np.float32], label: int) -> Images:
    """As many patients as images, all in training."""
    count = len(pixels)
    keys = tuple(number.to_bytes(32, "big") for number in range(count))
    return Images(pixels, np.full(count, label), np.arange(count), keys, np.zeros(count, np.int64))


def sum_of(
    module: nn.Module, images: Images, way: PatientGradients, clip: float, *, adaptive: bool
) -> NDArray[np.float64]:
    """What a step sums of all patients, before the noise."""
    sums: list[NDArray[np.float64]] = []

    def silent(total: NDArray[np.float64], mechanism: Mechanism, _: SecureStream) -> NDArray[np.int64]:
        sums.append(total.copy())
        return np.zeros(mechanism.entries, np.int64)

    groups = images.by_patient(Split.TRAIN)
    bench = Bench(
        module=module,
        loss=loss_of(kind_of(STUDY), EQUAL),
        images=images,
        groups=groups,
        given=given_of(STUDY),
        training=STUDY.training,
        rate=1.0,
        adaptive=adaptive,
        stream=SecureStream(),
        choice=Choice(way, 32, {}),
        release=silent,
    )
    entries = sum(p.numel() for p in module.parameters()) + adaptive
    bench.step(Mechanism(clip=clip, noise_multiplier=1.0, entries=entries, honest=1, sites=1))
    return sums[0]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_no_patient_counts_for_more_than_a_tiny_clip(way: PatientGradients) -> None:
    """Weights of zero and a class that the model is sure of: gradients of e^-60, whose squares float32 takes for 0."""
    module = network_of(STUDY)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        list(module.parameters())[-1].copy_(torch.tensor([30.0, -30.0]))
    clip = 1e-28
    images = hospital(np.random.default_rng(0).random((1, 1, 32, 32), dtype=np.float32), label=0)
    moved = np.linalg.norm(sum_of(module, images, way, clip, adaptive=False))
    assert moved <= clip * (1 + ARITHMETIC)


def test_one_patient_more_changes_nobody_elses_bit() -> None:
    """The patient's gradient overflows a norm in float32: the others' norms must not be taken otherwise for it."""
    torch.manual_seed(0)
    hidden, head = nn.Linear(64, 64), nn.Linear(64, 2)
    module = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), head)
    with torch.no_grad():
        hidden.weight[0], hidden.bias[0] = 0, -0.5
        hidden.weight[0, 0] = 1.0  # sees the first pixel, and that alone
        head.weight[:, 0] = torch.tensor([1e25, -1e25])
    others = np.repeat(np.random.default_rng(1).random((1, 1, 8, 8), dtype=np.float32), 31, axis=0)
    others[:, 0, 0, 0] = 0.0
    patient = np.zeros((1, 1, 8, 8), np.float32)
    patient[0, 0, 0, 0] = 1.0
    without, joined = hospital(others, label=1), hospital(np.concatenate([others, patient]), label=1)
    worst = 0.0
    for clip in clips_near(module, others):
        first = sum_of(module, without, Layers(), clip, adaptive=True)
        worst = max(worst, float(np.linalg.norm(sum_of(module, joined, Layers(), clip, adaptive=True) - first)) / clip)
    assert worst <= 1 + ARITHMETIC


def clips_near(module: nn.Module, others: NDArray[np.float32]) -> list[float]:
    """Clips at which the others' bits hang on the last digits of their norm; the coordinator chooses the clip."""
    one = Patients(torch.from_numpy(others[:1])[:, None], torch.ones(1, 1, dtype=torch.int64), 1)
    norm = float(Loop().clipped_sum(module, loss_of(kind_of(STUDY), EQUAL), one, 1e300).total.norm())
    return [norm * (1 + k * 2e-9) / gradient_clip(1.0) for k in range(-40, 41)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_clipped_gradient_is_no_longer_than_the_clip(way: PatientGradients, precision: Precision) -> None:
    """The norm is taken of what is added, in more digits than it has."""
    module, worst = network_of(STUDY), 0.0
    for seed in range(20):
        pixels = torch.rand(1, 1, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
        patient = Patients(pixels, torch.zeros(1, 1, dtype=torch.int64), 1)
        found = Precise(way, precision).clipped_sum(module, loss_of(kind_of(STUDY), EQUAL), patient, 1e-2)
        worst = max(worst, float(found.total.norm()) / 1e-2)
    assert worst <= 1 + 2.0**-17


def test_a_norm_is_the_patients_own() -> None:
    """To the bit, whoever is beside."""
    rows = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    alone = Rows(rows.clone()).squares()
    rows[2, :2] = 3e19
    assert torch.equal(Rows(rows).squares()[:2], alone[:2])
    assert math.isfinite(float(Rows(rows).squares()[2]))


def test_what_is_too_small_to_square_is_clipped_too() -> None:
    """10^5 numbers of 10^-23: a norm of 3 × 10^-21."""
    total = torch.zeros(100_000, dtype=torch.float64)
    rows = Rows(torch.full((1, 100_000), 1e-23))
    clipped_sum([(slice(0, 100_000), rows)], total, clip=1e-23, real=1)
    assert float(total.norm()) <= 1e-23 * (1 + ARITHMETIC)
