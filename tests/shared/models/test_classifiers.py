"""The contract of every classifier: a patient's gradient is its own, whoever else is there, whichever way takes it."""

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from client.training.gradients.base import Patients
from client.training.gradients.choose import WAYS
from client.training.gradients.clip import trained
from client.training.gradients.independence import BITWISE, independent, unknown
from client.training.gradients.loop import Loop
from client.training.gradients.precision import Precise
from shared.errors import InputError
from shared.models.backbone import Backbone
from shared.models.layers import Output, parts_of
from shared.models.registry import build
from shared.parameters import layout_of
from shared.study import Model
from shared.study.words import Options

IMAGE, VOLUME, SMALL = (3, 32, 40), (1, 16, 16, 16), (3, 16, 16)
#: A name, its options and the shape of what it is given [C, …].
MODELS: Mapping[str, tuple[str, Options, tuple[int, ...]]] = {
    "cnn": ("cnn", {"width": 4, "hidden": 3}, SMALL),
    "densenet121": ("densenet121", {}, IMAGE),
    "efficientnet": ("efficientnet", {}, IMAGE),
    "mlp": ("mlp", {"side": 4, "hidden": 5, "layers": 2}, SMALL),
    "mlp of volumes": ("mlp", {"side": 2, "hidden": 0}, VOLUME),
    "recurrent": ("recurrent", {"width": 2, "state": 3, "blocks": 2}, VOLUME),
    "recurrent of stacks": ("recurrent", {"width": 2, "state": 3, "both": 1, "reading": "last"}, (5, 16, 16)),
    "resnet": ("resnet", {"width": 4, "groups": 2}, IMAGE),
    "resnet of volumes": ("resnet", {"width": 4, "blocks": "1-1", "stem": "small"}, VOLUME),
    "resnet with bottlenecks": ("resnet", {"width": 4, "depth": 50, "stem": "small"}, SMALL),
    "resnet, standardised": (
        "resnet",
        {"width": 8, "blocks": "1-1-1", "stem": "halving", "standardise": 1, "shortcut": "average", "pooling": "both",
         "stem_width": 4, "groups": 1},
        IMAGE,
    ),
    "scattering": ("scattering", {"scales": 2, "angles": 2}, SMALL),
    "vit": ("vit", {"patch": 8, "width": 12, "depth": 1}, SMALL),
    "vit of volumes": ("vit", {"patch": 8, "width": 12, "depth": 1}, VOLUME),
}  # fmt: skip
#: Too large to be tried in more than one way within seconds.
LARGE = ("densenet121", "efficientnet", "resnet with bottlenecks")


def make(case: str, classes: int = 3) -> nn.Module:
    name, options, shape = MODELS[case]
    return build(Model(name=name, options=options), channels=shape[0], classes=classes, size=shape[1:], seed=0)


def loss(output: Tensor | Output, target: Tensor) -> Tensor:
    logits, penalty = parts_of(output)
    return F.cross_entropy(logits, target, reduction="none") + penalty


def patients(case: str, count: int = 3) -> Patients:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 2, *MODELS[case][2], generator=generator)
    return Patients(images, torch.arange(2 * count).reshape(count, 2) % 3, count)


@pytest.mark.parametrize("case", MODELS)
class TestEveryClassifier:
    def test_has_float32_weights_and_nothing_else(self, case: str) -> None:
        net = make(case)
        assert layout_of(net).size == sum(p.numel() for p in net.parameters())
        assert ModuleValidator.validate(net, strict=False) == []

    def test_learns_as_it_is_looked_at(self, case: str) -> None:
        """Nothing is dropped at random, nothing depends on the rest of the batch."""
        net, images = make(case), patients(case).images.flatten(0, 1)
        with torch.no_grad():
            trains, looks = parts_of(net.train()(images))[0], net.eval()(images)
            alone = torch.cat([net(image[None]) for image in images])
        assert looks.shape == (6, 3)
        torch.testing.assert_close(trains, looks, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone, looks, rtol=1e-4, atol=1e-5)

    def test_a_patients_gradient_is_the_loops(self, case: str) -> None:
        net, some = unknown(make(case)), patients(case)
        ways = [way for way in WAYS if way.fits(net) and (case not in LARGE or way.name in ("loop", "layers"))]
        assert len(ways) > 1, "a way that is quicker than one by one"
        expected = Loop().clipped_sum(net, loss, some, 0.5).total
        assert expected.norm() > 0 and len(expected) == sum(p.numel() for p in trained(net))
        for way in ways:
            found = way.clipped_sum(net, loss, some, 0.5).total
            assert (found - expected).norm() <= 1e-4 * expected.norm(), way.name

    def test_one_way_at_least_is_independent_of_who_else_is_drawn(self, case: str) -> None:
        """To the bit (client/training/gradients/precision.py)."""
        some = patients(case, 2)
        alike = Patients(some.images, torch.ones_like(some.target), some.real)
        assert independent(Precise(Loop(), "float32"), unknown(make(case)), loss, alike, BITWISE)

    def test_its_head_is_its_last_layer(self, case: str) -> None:
        net = make(case)
        head = net.get_submodule("head")
        assert [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1].out_features == 3

    def test_a_head_sees_features_alone(self, case: str) -> None:
        net = make(case)
        if not isinstance(net, Backbone):
            assert case == "scattering"  # it has a fixed part of its own
            return
        body = set(net.parameters()) - set(net.head.parameters())
        assert net.resting == (not body)
        for parameter in body:
            parameter.requires_grad_(False)
        images = patients(case).images.flatten(0, 1)
        assert net.resting
        assert net.fixed(images).shape[0] == 6 and net.fixed(images).dim() == 2
        torch.testing.assert_close(net.learned(net.fixed(images)), net(images))


@pytest.mark.parametrize(("depth", "published"), [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032)])
def test_residual_nets_are_as_large_as_torchvisions_and_named_alike(depth: int, published: int) -> None:
    """Weights of resnet18, 34 and 50 without `fc`, in torchvision's documentation 11,689,512 and so on with it."""
    net = build(Model(name="resnet", options={"depth": depth}), channels=3, classes=2, size=(64, 64), seed=0)
    sizes = {name: p.numel() for name, p in net.named_parameters() if not name.startswith("head.")}
    assert sum(sizes.values()) == published
    assert {
        "conv1.weight",
        "bn1.bias",
        "layer1.0.conv2.weight",
        "layer4.1.bn2.weight",
        "layer2.0.downsample.1.bias",
    } <= {*sizes}


@pytest.mark.parametrize(
    ("name", "options", "size", "message"),
    [
        ("resnet", {}, (16, 16), "sides of at least 32"),
        ("resnet", {"blocks": "2-0"}, (64, 64), "model.options.blocks"),
        ("efficientnet", {}, (31, 64), "sides of at least 32"),
        ("vit", {}, (40, 40), "multiples of model.options.patch = 16"),
        ("vit", {"width": 10}, (32, 32), "a multiple of the 3 heads"),
        ("recurrent", {}, (32, 32), "got single images"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: Options, size: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(Model(name=name, options=options), channels=1, classes=2, size=size, seed=0)


def test_a_series_is_read_in_its_order() -> None:
    net, volume = make("recurrent").eval(), torch.rand(1, *VOLUME)
    assert not torch.allclose(net(volume), net(volume.flip(2)), atol=1e-6)
    both = make("recurrent of stacks").eval()
    assert both(torch.rand(2, 5, 16, 16)).shape == (2, 3)


def test_the_recurrent_unit_is_cudnns() -> None:
    """Cho et al. 2014 as torch.nn.GRU has it."""
    from shared.models.recurrent import Gated  # noqa: PLC0415

    mine, theirs, steps = Gated(4, 3), nn.GRU(4, 3, batch_first=True), torch.rand(2, 6, 4)
    with torch.no_grad():
        weights = (*mine.of_input.parameters(), *mine.of_state.parameters())  # of each the weight, then the bias
        for name, weight in zip(("weight_ih", "bias_ih", "weight_hh", "bias_hh"), weights, strict=True):
            theirs.get_parameter(f"{name}_l0").copy_(weight)
        torch.testing.assert_close(mine(steps), theirs(steps)[0])
