"""Models of images to images under private training: every way that takes them gives one sum, and keeps patients
apart."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Generator, nn

from client.training.gradients.base import Loss, PatientGradients, Patients
from client.training.gradients.choose import WAYS, Example, fastest
from client.training.gradients.independence import independent
from client.training.gradients.loop import Loop
from client.training.gradients.precision import Precise
from client.training.loop import loss_of
from client.training.private import check_private
from shared.network import network_of
from shared.study import read_study
from shared.tasks.registry import kind_of

CPU = torch.device("cpu")
STUDIES = Path(__file__).parents[3] / "shared" / "tasks" / "studies"
NAMES = sorted(
    path.stem
    for path in STUDIES.glob("*.toml")
    if path.stem.split("-")[0] in ("enhancement", "registration", "synthesis")
)
#: A volume takes seconds to measure, and nothing of it but its layers is another.
FLAT = [name for name in NAMES if not name.endswith("volume")]
CLIP = 0.05


@cache
def case(name: str) -> tuple[nn.Module, Loss, Patients]:
    """The network, its loss, and three patients with two images each, of which the last one does not count."""
    study = read_study(STUDIES / f"{name}.toml")
    kind, module = kind_of(study), network_of(study).train()
    generator = Generator().manual_seed(1)
    for weight in module.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
    made = [
        kind.example(torch.rand(2, *study.input.shape, generator=generator), torch.tensor([0, 1]), generator)
        for _ in range(3)
    ]
    images, target = torch.stack([image for image, _ in made]), torch.stack([known for _, known in made])
    return module, loss_of(kind, ()), Patients(images, target, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [way for way in WAYS if way.name != "loop"], ids=lambda way: way.name)
def test_every_way_that_fits_gives_the_sum_of_the_loop(way: PatientGradients, name: str) -> None:
    module, loss, patients = case(name)
    if not way.fits(module):
        pytest.skip("does not know every layer, and says so")
    found = Precise(way, "float32").clipped_sum(module, loss, patients, CLIP)
    expected = Loop().clipped_sum(module, loss, patients, CLIP)
    assert found.within == expected.within
    assert expected.total.norm() > 0
    torch.testing.assert_close(found.total, expected.total, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("name", FLAT)
def test_they_may_be_trained_privately_and_the_quickest_way_keeps_patients_apart(name: str) -> None:
    module, loss, patients = case(name)
    check_private(module)
    example = Example(tuple(patients.images.shape[2:]), patients.target[0, 0])
    choice = fastest(module, loss, images=1, example=example, device=CPU, precision="float32", limit_bytes=1 << 30)
    assert independent(choice.way, module, loss, example.made(3, 1, CPU), 2.0**-20)


@pytest.mark.parametrize("name", FLAT)
def test_half_precision_is_of_the_network_and_not_of_the_loss(name: str) -> None:
    module, loss, patients = case(name)
    with torch.autocast("cpu", torch.bfloat16):
        losses = loss(module(patients.images[0]), patients.target[0])
    assert losses.dtype == torch.float32
    exact = loss(module(patients.images[0]), patients.target[0])
    torch.testing.assert_close(losses, exact, atol=0.02, rtol=0.1)
