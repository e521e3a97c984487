from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from shared.errors import InputError, OperatorError
from shared.models.synthesis import unpacked
from shared.models.wavelets import Wavelets
from shared.network import network_of
from shared.study import parse_study, read_study
from shared.tasks.registry import kind_of
from shared.tasks.synthesis import ANGLES, Options, Synthesis, features

STUDIES = Path(__file__).parent / "studies"
GAN = (STUDIES / "synthesis-gan-classes.toml").read_text()


class Noise(nn.Module):
    """Images that are the noise they are drawn from."""

    def forward(self, given: Tensor) -> Tensor:
        return (0.5 + 0.1 * unpacked(given, 1).noise).clamp(0, 1)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 16, 16, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize(("channels", "scales"), [(1, 1), (1, 3), (3, 2)])
def test_features_are_as_many_as_the_wavelets_give(channels: int, scales: int) -> None:
    bank = Wavelets(channels=channels, scales=scales, angles=ANGLES, order=1, turned=True)
    assert features(channels, scales) == bank.features


def test_images_like_the_real_ones_are_nearer_than_others() -> None:
    kind = Synthesis(Options(scales=1), 1, 0)
    noise = 0.5 + 0.1 * torch.randn(40, 1, 16, 16, generator=Generator().manual_seed(5))
    flat = images(40) * 0.02

    def distance(real: Tensor) -> float:
        counts = kind.count(kind.measure(Noise(), real.clamp(0, 1), torch.zeros(40), 1), np.zeros(40), np.arange(40))
        value = kind.judge(counts).headline.value
        assert value is not None
        return value

    assert distance(noise) < 0.1 * distance(flat)


def test_halves_of_the_real_images_are_compared_too() -> None:
    """Of two patients with the same images the halves are one: nothing is between them."""
    kind = Synthesis(Options(scales=1), 1, 0)
    same = torch.cat([images(4), images(4)])
    counts = kind.count(kind.measure(Noise(), same, torch.zeros(8), 1), np.zeros(8), np.repeat([3, 9], 4))
    judged = kind.judge(counts)
    halves, spread = judged.figure("real_distance"), judged.figure("spread")
    assert halves is not None and halves.value == pytest.approx(0, abs=1e-3)
    assert spread is not None and spread.value is not None and spread.value > 0


def test_new_images_are_drawn_from_what_is_each_images_own() -> None:
    kind = Synthesis(Options(scales=1), 1, 2)
    label = torch.tensor([0, 1, 0, 1])
    found = kind.measure(Noise(), images(4), label, 1)
    turned = kind.measure(Noise(), images(4).flip(0), label, 1)
    np.testing.assert_allclose(found, turned[::-1], atol=1e-5)
    assert len({row.tobytes() for row in found[:, kind.moments.features :].round(6)}) == 4


def test_another_number_of_new_images_than_of_real_ones_is_refused() -> None:
    kind = Synthesis(Options(scales=1), 1, 0)
    counts = kind.count(kind.measure(Noise(), images(4), torch.zeros(4), 1), np.zeros(4), np.arange(4))
    counts[0] += 1
    with pytest.raises(OperatorError, match="as many new images as real ones"):
        kind.judge(counts)


def test_a_network_without_a_loss_of_its_own_has_none() -> None:
    kind = kind_of(parse_study(GAN))
    module = network_of(parse_study(GAN)).train()
    given, target = kind.example(images(2), torch.tensor([0, 1]), Generator().manual_seed(0))
    assert (kind.loss(module(given), target, ()) > 0).all()
    assert kind.target == "class"
    assert kind.presence(np.array([0, 1, 1])).tolist() == [[True, False], [False, True], [False, True]]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "gan"', 'name = "cnn"', r"model\.name"),
        ('labels = ["clear", "nodule"]', 'labels = ["clear"]', r"task\.labels"),
        ("size = [16, 16]", 'kind = "volume"\nsize = [16, 16, 16]', r"input\.kind"),
        ('name = "gan"', 'name = "diffusion"', r"model\.frozen"),
    ],
)
def test_what_it_cannot_do_is_refused(old: str, new: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        kind_of(parse_study(GAN.replace(old, new)))


def test_the_studies_of_the_contract_are_what_they_say() -> None:
    assert kind_of(read_study(STUDIES / "synthesis-gan.toml")).target == "none"
