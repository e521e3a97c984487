"""One contract for every way of taking per-patient gradients: by hand on three numbers, else against one backward pass
per patient written out here."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from client.training.gradients.base import PatientGradients, Patients
from client.training.gradients.hooks import Hooks
from client.training.gradients.layers import Layers
from client.training.gradients.loop import Loop
from client.training.gradients.precision import Precise
from client.training.gradients.vmap import Vmap
from shared.mechanism import ARITHMETIC
from shared.models.layers import Output
from shared.models.registry import build
from shared.study import Model

WAYS: list[PatientGradients] = [Loop(), Vmap(), Hooks(), Layers(), Precise(Layers(), "float32")]


def linear_loss(output: Tensor | Output, label: Tensor) -> Tensor:
    """Its gradient for image x of label ±1 is ±x: every expectation below is by hand."""
    assert isinstance(output, Tensor)
    return output[:, 0] * label


def cross_entropy(output: Tensor | Output, label: Tensor) -> Tensor:
    logits, penalty = output if isinstance(output, Output) else (output, 0.0)
    return F.cross_entropy(logits, label, reduction="none") + penalty


def three_numbers() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False))


def patients(images: list[list[list[float]]], label: list[list[int]], real: int | None = None) -> Patients:
    pixels = torch.tensor(images)[:, :, None, None]  # [p, m, 1, 1, 3]
    return Patients(pixels, torch.tensor(label), len(images) if real is None else real)


def drawn(count: int, each: int, size: tuple[int, ...], seed: int = 0, channels: int = 1) -> Patients:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, each, channels, *size, generator=generator, dtype=torch.float64)
    return Patients(images, torch.randint(0, 2, (count, each), generator=generator), count)


def by_hand(module: nn.Module, drawn: Patients, clip: float) -> tuple[Tensor, int]:
    """A backward pass per patient, clipped and added up as the definition says, and how many were within."""
    weights = [p for p in module.parameters() if p.requires_grad]
    total, within = torch.zeros(sum(p.numel() for p in weights), dtype=torch.float64), 0
    for images, label in zip(drawn.images[: drawn.real], drawn.target[: drawn.real], strict=True):
        mean = cross_entropy(module(images), label).mean()
        gradient = torch.cat([g.flatten().double() for g in torch.autograd.grad(mean, weights)])
        total += gradient * min(1.0, clip / float(gradient.norm()))
        within += int(gradient.norm() <= clip)
    return total, within


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
class TestThreeNumbers:
    def test_short_gradients_add_up_and_long_ones_are_scaled_to_the_clip(self, way: PatientGradients) -> None:
        given = patients([[[3.0, 0.0, 4.0]], [[0.0, 0.6, 0.0]]], [[1], [-1]])
        found = way.clipped_sum(three_numbers(), linear_loss, given, 1.0)
        torch.testing.assert_close(found.total, torch.tensor([0.6, -0.6, 0.8], dtype=torch.float64), atol=1e-6, rtol=0)
        assert found.total.dtype == torch.float64
        assert found.within == 1

    def test_a_patient_counts_by_the_mean_of_its_images(self, way: PatientGradients) -> None:
        given = patients([[[0.4, 0.0, 0.0], [0.0, 0.4, 0.0]], [[0.0, 0.0, 0.5]] * 2], [[1, 1], [1, 1]])
        found = way.clipped_sum(three_numbers(), linear_loss, given, 1.0)
        torch.testing.assert_close(found.total, torch.tensor([0.2, 0.2, 0.5], dtype=torch.float64), atol=1e-6, rtol=0)
        assert found.within == 2

    def test_a_patient_with_four_images_contributes_at_most_the_clip(self, way: PatientGradients) -> None:
        given = patients([[[9.0, 0.0, 0.0]] * 4], [[1] * 4])
        total = way.clipped_sum(three_numbers(), linear_loss, given, 0.05).total
        assert float(total.norm()) == pytest.approx(0.05, rel=1e-6)

    def test_a_gradient_of_zero_stays_zero_and_is_within(self, way: PatientGradients) -> None:
        found = way.clipped_sum(three_numbers(), linear_loss, patients([[[0.0] * 3]], [[1]]), 1.0)
        assert found.total.tolist() == [0, 0, 0]
        assert found.within == 1

    @pytest.mark.parametrize("strange", [float("nan"), float("inf"), -float("inf")])
    def test_a_patient_without_a_finite_gradient_contributes_nothing(
        self, way: PatientGradients, strange: float
    ) -> None:
        given = patients([[[0.25, 0.0, 0.0]], [[strange, 0.0, 0.0]], [[0.5, 0.0, 0.0]]], [[1], [1], [1]])
        found = way.clipped_sum(three_numbers(), linear_loss, given, 1.0)
        assert found.total.tolist() == pytest.approx([0.75, 0, 0], abs=1e-6)
        assert found.within == 2

    def test_a_gradient_whose_square_is_beyond_float32_is_clipped_like_any_other(self, way: PatientGradients) -> None:
        found = way.clipped_sum(three_numbers(), linear_loss, patients([[[3e30, 0.0, 4e30]]], [[1]]), 1.0)
        assert found.total.tolist() == pytest.approx([0.6, 0, 0.8], rel=1e-6)

    @pytest.mark.parametrize("filler", [0.0, 7.0, float("nan"), float("inf")])
    def test_what_fills_a_chunk_up_contributes_nothing(self, way: PatientGradients, filler: float) -> None:
        given = patients([[[0.25, 0.0, 0.0]], [[filler] * 3], [[filler] * 3]], [[1], [1], [0]], real=1)
        found = way.clipped_sum(three_numbers(), linear_loss, given, 1.0)
        assert found.total.tolist() == pytest.approx([0.25, 0, 0], abs=1e-6)
        assert found.within == 1

    @pytest.mark.parametrize("count", [0, 2])
    def test_nobody_gives_zeros(self, way: PatientGradients, count: int) -> None:
        given = Patients(torch.rand(count, 1, 1, 1, 3), torch.zeros(count, 1, dtype=torch.int64), real=0)
        found = way.clipped_sum(three_numbers(), linear_loss, given, 1.0)
        assert found.total.tolist() == [0, 0, 0]
        assert found.within == 0


def cnn(size: tuple[int, ...] = (12, 10), channels: int = 1, **options: int | float | str) -> nn.Module:
    model = Model(name="cnn", options={"width": 4, "hidden": 0, "blocks": 2} | options)
    return build(model, channels=channels, classes=2, size=size, seed=0)


def half_frozen() -> nn.Module:
    net = cnn(hidden=6, blocks=3)
    for weight in (*net.blocks[0].parameters(), net.blocks[1][0].bias, net.blocks[2][1].weight):  # type: ignore[index, union-attr]
        weight.requires_grad_(False)
    return net


def places_of_many_sorts() -> nn.Module:
    """Layers no registered model has: dilation, groups, a one-sided stride, dense layers at several places."""
    return nn.Sequential(
        nn.Conv2d(1, 4, (3, 1), stride=(2, 1), padding=(0, 1), dilation=(2, 1)),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3, groups=2, bias=False),
        nn.Tanh(),
        nn.Conv2d(6, 6, 1, stride=2),
        nn.Flatten(2),
        nn.LayerNorm(8),
        nn.Linear(8, 5),
        nn.LayerNorm((6, 5), bias=False),
        nn.Flatten(),
        nn.Linear(30, 2),
    )


#: Name → model and the size of an image.
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "cnn": (lambda: cnn(hidden=6), (12, 10)),
    "standardised, maximum, stride": (lambda: cnn(standardise=1, pooling="max", stride=2, activation="silu"), (12, 10)),
    "flat, wide": (lambda: cnn(pooling="flatten", hidden=40, activation="tanh"), (12, 10)),
    "few places": (lambda: cnn((8, 8), blocks=4, width=8), (8, 8)),
    "volume": (lambda: cnn((8, 9, 8), hidden=6), (8, 9, 8)),
    "few places in a volume": (lambda: cnn((8, 8, 8), blocks=4, width=8, standardise=0), (8, 8, 8)),
    "standardised volume": (lambda: cnn((8, 8, 8), standardise=1), (8, 8, 8)),
    "scattering": (lambda: build(Model(name="scattering"), channels=1, classes=2, size=(16, 16), seed=0), (16, 16)),
    "half frozen": (half_frozen, (12, 10)),
    "many sorts": (places_of_many_sorts, (16, 8)),
}


def fitting(module: nn.Module) -> list[PatientGradients]:
    return [way for way in WAYS if way.fits(module)]


@pytest.mark.parametrize("each", [1, 2, 5])
@pytest.mark.parametrize("name", MODELS)
def test_all_ways_are_what_the_definition_says(name: str, each: int) -> None:
    make, size = MODELS[name]
    net, given = make().double(), drawn(5, each, size)
    given = Patients(given.images, given.target, real=4)
    norms = torch.stack([by_hand(net, Patients(*given_of(given, p), 1), 1e9)[0].norm() for p in range(4)])
    for clip in (float(norms.min()) / 2, float(norms.median()) * 1.0001, float(norms.max()) * 2):
        total, within = by_hand(net, given, clip)
        for way in fitting(net):
            found = way.clipped_sum(net, cross_entropy, given, clip)
            assert float((found.total - total).norm()) <= 1e-6 * float(total.norm()), way.name
            assert found.within == within, way.name


def given_of(given: Patients, patient: int) -> tuple[Tensor, Tensor]:
    return given.images[patient : patient + 1], given.target[patient : patient + 1]


@pytest.mark.parametrize("each", [1, 2])
def test_all_ways_agree_on_densenet(each: int) -> None:
    net = build(Model(name="densenet121"), channels=1, classes=2, size=(32, 32), seed=0).double()
    given = drawn(3, each, (32, 32))
    total, within = by_hand(net, given, 1.0)
    assert [way.name for way in fitting(net)] == [way.name for way in WAYS]
    for way in fitting(net)[1:4]:
        found = way.clipped_sum(net, cross_entropy, given, 1.0)
        assert float((found.total - total).norm()) <= 1e-6 * float(total.norm()), way.name
        assert found.within == within


def test_in_float32_all_ways_agree_where_nothing_is_at_an_edge() -> None:
    """tanh and average pooling have no edges, where a last bit would decide which way a gradient goes."""
    net, given = cnn(activation="tanh", pooling="average", hidden=6), drawn(6, 2, (12, 10))
    net.blocks = nn.Sequential(*(layer for block in net.blocks for layer in list(block)[:3]))  # type: ignore[union-attr]
    given = Patients(given.images.float(), given.target, 6)
    total, _ = by_hand(net.double(), Patients(given.images.double(), given.target, 6), 0.1)
    net.float()
    for way in WAYS:
        assert way.fits(net)
        found = way.clipped_sum(net, cross_entropy, given, 0.1).total
        assert float((found - total).norm()) <= 1e-6 * float(total.norm()), way.name


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
class TestContract:
    def test_weights_gradients_and_mode_are_as_they_were(self, way: PatientGradients) -> None:
        net, given = cnn(hidden=6).double(), drawn(3, 2, (12, 10))
        for weight in net.parameters():
            weight.grad = torch.full_like(weight, 7.0)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        kept = {name: set(vars(part)) for name, part in net.named_modules()}
        images, label = given.images.clone(), given.target.clone()
        for training in (True, False, True):
            net.train(training)
            net.blocks.train(not training)  # type: ignore[union-attr]
            modes = [part.training for part in net.modules()]
            if way.name != "hooks" or all(modes):  # Opacus looks at layers in training only
                way.clipped_sum(net, cross_entropy, given, 1.0)
            assert [part.training for part in net.modules()] == modes
        net.train()
        way.clipped_sum(net, cross_entropy, given, 1.0)
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert all(w.grad is not None and bool((w.grad == 7).all()) and w.requires_grad for w in net.parameters())
        assert all(set(vars(w)) == set() for w in net.parameters())
        assert {name: set(vars(part)) for name, part in net.named_modules()} == kept
        assert torch.equal(given.images, images)
        assert torch.equal(given.target, label)

    def test_an_error_in_the_model_leaves_nothing_behind(self, way: PatientGradients) -> None:
        net = cnn()
        kept = {name: set(vars(part)) for name, part in net.named_modules()}
        with pytest.raises(RuntimeError):
            way.clipped_sum(net, cross_entropy, drawn(1, 1, (12, 10), channels=3), 1.0)
        assert {name: set(vars(part)) for name, part in net.named_modules()} == kept

    def test_a_patient_more_moves_the_sum_by_no_more_than_the_clip(self, way: PatientGradients) -> None:
        """At any place, of any size, among patients within the clip and beyond it, in float32."""
        generator = torch.Generator().manual_seed(1)
        for case in range(40):
            net = cnn((8, 8), width=4, hidden=case % 2 * 5, activation="relu")
            with torch.no_grad():
                for weight in net.parameters():
                    weight.mul_(10.0 ** float(torch.randint(-1, 3, (), generator=generator)))
            given = drawn(5, 1 + case % 3, (8, 8), seed=case)
            images, clip = given.images.float(), 10.0 ** float(torch.randint(-3, 2, (), generator=generator))
            images[0] *= 10.0 ** float(torch.randint(-2, 6, (), generator=generator))
            place = case % 4
            order = [1, 2, 3]
            with_one = [*order[:place], 0, *order[place:], 4]
            without = [*order, 4, 4]
            more = Patients(images[with_one], given.target[with_one], real=4)
            fewer = Patients(images[without], given.target[without], real=3)
            sums = [way.clipped_sum(net, cross_entropy, part, clip).total for part in (more, fewer)]
            assert float((sums[0] - sums[1]).norm()) <= clip * (1 + ARITHMETIC)


def test_strange_images_of_one_patient_leave_the_others_right() -> None:
    net = cnn(hidden=6, blocks=3).double()
    given = drawn(4, 2, (12, 10))
    without = Patients(given.images[[0, 1, 3]], given.target[[0, 1, 3]], 3)
    given.images[2, 1, 0, 3, 3] = float("nan")
    for way in WAYS:
        found, right = (way.clipped_sum(net, cross_entropy, part, 0.5) for part in (given, without))
        torch.testing.assert_close(found.total, right.total, rtol=1e-9, atol=1e-12)
        assert found.within == right.within
