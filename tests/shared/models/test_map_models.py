"""Networks with one value for each pixel, and the one that finds boxes."""

import pytest
import torch
from torch import Generator, Tensor, nn

from client.training.gradients.base import Patients
from client.training.gradients.choose import WAYS
from client.training.gradients.independence import BITWISE, independent, unknown
from client.training.gradients.loop import Loop
from shared.errors import InputError
from shared.models.layers import Output, parts_of
from shared.models.registry import build
from shared.models.retinanet import RetinaNet
from shared.parameters import layout_of
from shared.study import Model

MAPS = ("dynunet", "segresnet", "swinunetr", "unet", "unetr")
#: No side is a multiple of what the networks halve.
SIZES = ((20, 33), (9, 20, 17))
#: Small enough for a moment.
SMALL: dict[str, dict[str, int | float | str]] = {
    "dynunet": {"levels": 3, "width": 4, "groups": 2},
    "segresnet": {"levels": 3},
    "swinunetr": {"window": 4, "depth": 1},
    "unet": {"levels": 3, "width": 4, "groups": 2},
    "unetr": {"hidden": 16, "width": 4},
    "retinanet": {"levels": 2, "width": 4, "pyramid": 8},
}


def make(name: str, size: tuple[int, ...], **options: int | float | str) -> nn.Module:
    return build(Model(name=name, options=SMALL[name] | options), channels=2, classes=3, size=size, seed=0)


def loss(output: Tensor | Output, target: Tensor) -> Tensor:
    """[n], of any output."""
    logits, penalty = parts_of(output)
    return (logits.flatten(1).float() - target[:, None]).square().mean(dim=1) + penalty


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("size", SIZES, ids=["image", "volume"])
def test_maps_are_as_large_as_the_images(name: str, size: tuple[int, ...]) -> None:
    assert make(name, size)(torch.rand(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("name", [name for name in MAPS if name != "unetr"])
def test_one_network_takes_images_of_every_size(name: str) -> None:
    net = make(name, (20, 33)).eval()
    assert net(torch.rand(1, 2, 48, 25)).shape == (1, 3, 48, 25)


def test_unetr_takes_patches_if_it_was_made_for_them() -> None:
    net = make("unetr", (40, 50), patch=24)
    assert net(torch.rand(1, 2, 24, 24)).shape == (1, 3, 24, 24)
    with pytest.raises(InputError, match=r"model.options.hidden: expected a multiple of the heads"):
        make("unetr", (32, 32), heads=3)


@pytest.mark.parametrize("name", SMALL)
class TestPrivately:
    patients = Patients(torch.rand(3, 1, 2, 20, 33, generator=Generator().manual_seed(0)), torch.zeros(3, 1), 3)

    def test_every_way_that_fits_gives_the_same_gradients(self, name: str) -> None:
        net = make(name, (20, 33))
        expected = Loop().clipped_sum(net, loss, self.patients, 0.1).total
        fitting = [way for way in WAYS if way.fits(net)]
        assert "vmap" in {way.name for way in fitting}
        for way in fitting:
            found = way.clipped_sum(net, loss, self.patients, 0.1).total
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)

    def test_nobody_elses_images_change_a_bit_of_a_gradient(self, name: str) -> None:
        net = make(name, (20, 33))
        quickest = next(way for way in WAYS if way.name in ("layers", "vmap") and way.fits(net))
        assert independent(quickest, unknown(net), loss, self.patients, BITWISE)


def test_dynunet_counts_each_of_its_weights_once() -> None:
    net = make("dynunet", (32, 32))
    assert layout_of(net).size == sum(p.numel() for p in net.parameters())
    assert len(set(map(id, net.parameters()))) == len(list(net.parameters()))


def test_a_strided_unet_computes_at_half_the_resolution() -> None:
    net = make("unet", (21, 34), stride=2, standardise=1).eval()
    assert net(torch.rand(1, 2, 21, 34)).shape == (1, 3, 21, 34)


class TestRetinaNet:
    def test_says_of_every_anchor_what_it_is(self) -> None:
        """Of 20 × 33 pixels: 5 × 9 places of 4 pixels and 3 × 5 of 8, with two sizes each."""
        made = make("retinanet", (20, 33))(torch.rand(2, 2, 20, 33))
        assert made.shape == (2, 2 * (5 * 9 + 3 * 5), 3 + 8)
        anchors = made[0, :, -4:]
        assert anchors[0].tolist() == [-2, -2, 6, 6]  # two places long, around the first one's middle
        torch.testing.assert_close(anchors[1], 2 + 2**0.5 * torch.tensor([-4.0, -4, 4, 4]))
        assert anchors[2].tolist() == [-2, 2, 6, 10]  # columns first
        assert anchors[90].tolist() == [-4, -4, 12, 12]
        assert torch.equal(made[0, :, -4:], made[1, :, -4:])

    def test_begins_sure_that_there_is_nothing(self) -> None:
        scores = make("retinanet", (20, 33)).eval()(torch.rand(2, 2, 20, 33))[..., :3].sigmoid()
        assert scores.mean().item() == pytest.approx(0.01, rel=0.2)

    def test_longer_anchors_have_the_same_volume(self) -> None:
        net = make("retinanet", (16, 16, 16), shapes=2, scales=1)
        assert isinstance(net, RetinaNet)
        assert len(net.shapes) == 4
        volumes = torch.tensor(net.shapes).prod(dim=1)
        torch.testing.assert_close(volumes, torch.full((4,), 8.0))
        assert net.shapes[1][0] / net.shapes[1][1] == pytest.approx(2)

    def test_too_many_levels_for_an_image_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"input.size: expected sides of at least 32"):
            make("retinanet", (16, 64), levels=4)
