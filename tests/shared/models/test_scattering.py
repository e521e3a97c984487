import pytest
import torch

from shared.errors import InputError
from shared.models.layers import Output
from shared.models.reference import reference_images
from shared.models.registry import build
from shared.models.scattering import Scattering
from shared.models.wavelets import Wavelets
from shared.network import network_of
from shared.study import MINIMAL, Model, parse_study


def make(**options: int | float | str) -> Scattering:
    net = build(Model(name="scattering", options=dict(options)), channels=1, classes=2, size=(32, 32), seed=0)
    assert isinstance(net, Scattering)
    return net


def centre_of(net: Scattering) -> torch.nn.Parameter:
    assert net.centre is not None
    return net.centre


def test_references_are_pictures_and_never_change() -> None:
    images = reference_images(4, 3, (9, 12))
    assert images.shape == (4, 3, 9, 12)
    assert images.min() >= 0 and images.max() <= 1
    # a change here changes every trained scattering model: give it a new name in the registry instead
    torch.testing.assert_close(images[0, 0, 0, :3], torch.tensor([0.45189, 0.46141, 0.42558]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_number_of_statistics_is_known_beforehand(order: int, channels: int) -> None:
    wavelets = Wavelets(channels=channels, scales=2, angles=4, order=order)
    assert wavelets(torch.rand(2, channels, 16, 20)).shape == (2, wavelets.features)


def test_statistics_do_not_see_which_side_a_spot_is_on() -> None:
    image = torch.rand(1, 1, 33, 33)
    wavelets = Wavelets(channels=1, scales=2, angles=2, order=1)  # both angles are their own mirror image
    torch.testing.assert_close(wavelets(image), wavelets(image.flip(3)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_number_is_known_with_averaged_directions_and_histograms_too(order: int, channels: int) -> None:
    wavelets = Wavelets(channels=channels, scales=2, angles=4, order=order, turned=True, levels=5)
    assert wavelets(torch.rand(2, channels, 16, 20)).shape == (2, wavelets.features)


@pytest.mark.parametrize("order", [1, 2])
def test_averaged_over_directions_a_turned_image_has_the_same_statistics(order: int) -> None:
    image = torch.rand(1, 3, 33, 33)
    turned = Wavelets(channels=3, scales=3, angles=4, order=order, turned=True, levels=4)
    torch.testing.assert_close(turned(image), turned(image.rot90(1, (2, 3))), atol=1e-4, rtol=1e-4)
    directed = Wavelets(channels=3, scales=3, angles=4, order=order)
    assert (directed(image) - directed(image.rot90(1, (2, 3)))).abs().max() > 0.01


def test_averaged_over_directions_stripes_still_differ_from_grain() -> None:
    stripes = (torch.arange(32) // 2 % 2).float().expand(1, 1, 32, 32)
    grain = stripes.flatten()[torch.randperm(32 * 32, generator=torch.Generator().manual_seed(1))].reshape(1, 1, 32, 32)
    wavelets = Wavelets(channels=1, scales=1, angles=4, order=1, turned=True)
    deviation = 4 * 5 + 1  # after the spots' statistics: of [mean, deviation over directions] the second's mean
    assert wavelets(stripes)[0, deviation] > wavelets(grain)[0, deviation] + 0.5


def test_a_histogram_says_how_much_lies_above_each_level() -> None:
    wavelets = Wavelets(channels=1, scales=1, angles=2, order=1, levels=8)  # levels 0.15, 0.25 … 0.85
    flat = wavelets(torch.full((1, 1, 16, 16), 0.45))[0, -8:] / 3
    steps = torch.arange(8) - 3  # from the level that the image has
    torch.testing.assert_close(flat, torch.sigmoid(-2.0 * steps), atol=1e-4, rtol=1e-4)


def test_a_histogram_tells_apart_what_has_the_same_mean() -> None:
    wavelets = Wavelets(channels=1, scales=1, angles=2, order=1, levels=8)
    grey, halves = torch.full((1, 1, 16, 16), 0.5), torch.zeros(1, 1, 16, 16)
    halves[..., 8:] = 1.0
    assert (wavelets(grey)[0, -8:] - wavelets(halves)[0, -8:]).abs().max() > 1


def test_over_the_references_statistics_are_centred_and_decorrelated() -> None:
    net = make()
    images = reference_images(768, 1, (32, 32))
    with torch.no_grad():
        found = (net.wavelets(images) - net.offset) @ net.decorrelate
    assert found.mean(dim=0).abs().max() < 1e-2
    assert 2 < found.square().sum(dim=1).mean().sqrt() < 3.01
    correlation = torch.corrcoef(found.T) - torch.eye(net.wavelets.features)
    assert correlation.abs().mean() < 0.03


def test_only_the_centre_and_the_head_are_weights() -> None:
    net, features = make(), 156
    assert (
        {name for name, _ in net.named_parameters()}
        == {"centre", "head.0.weight", "head.0.bias"}
        == set(net.state_dict())
    )
    assert sum(p.numel() for p in net.parameters()) == features + 2 * features + 2


def test_the_penalty_moves_the_centre_only_and_the_logits_never() -> None:
    net, images = make(hidden=4), torch.rand(3, 1, 32, 32)
    output = net(images)
    assert isinstance(output, Output)
    torch.autograd.backward(output.penalty.sum(), retain_graph=True)
    moved = centre_of(net).grad
    assert moved is not None and moved.abs().sum() > 0
    assert all(p.grad is None for p in net.head.parameters())
    centre_of(net).grad = None
    torch.autograd.backward(output.logits.sum())
    assert centre_of(net).grad is None


def test_descent_on_the_penalty_finds_the_mean() -> None:
    net, images = make(), torch.rand(8, 1, 32, 32)
    for _ in range(60):
        centre_of(net).grad = None
        torch.autograd.backward(net(images).penalty.mean())
        gradient = centre_of(net).grad
        assert gradient is not None
        with torch.no_grad():
            centre_of(net).sub_(0.5 * gradient)
    with torch.no_grad():
        away = (net.wavelets(images) - net.offset) @ net.decorrelate - net.gain * centre_of(net)
    assert away.mean(dim=0).norm() < 1e-3 * (net.gain * centre_of(net)).norm()


def test_in_evaluation_there_are_logits_only() -> None:
    assert make().eval()(torch.rand(2, 1, 32, 32)).tolist() == [[0, 0], [0, 0]]


def test_without_a_centre_only_the_head_is_trained_and_there_is_no_penalty() -> None:
    net = make(centre=0, turned=1, levels=8)
    assert set(net.state_dict()) == {"head.0.weight", "head.0.bias"}
    assert net.training
    assert isinstance(net(torch.rand(2, 1, 32, 32)), torch.Tensor)


def test_without_a_centre_the_head_learns_by_descent() -> None:
    net = make(centre=0, turned=1, levels=8)
    images = torch.cat([torch.rand(8, 1, 32, 32), 0.5 + 0.01 * torch.rand(8, 1, 32, 32)])
    label = torch.arange(16) // 8
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(20):
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(net(images), label))
        optimiser.step()
    assert (net.eval()(images).argmax(dim=1) == label).all()


STANDARD: dict[str, int | float | str] = {"turned": 1, "hidden": 4, "centre": 0, "standardise": 1}


def moments_of(net: Scattering) -> torch.Tensor:
    assert net.moments is not None
    return net.moments.detach()


def test_moments_of_hospitals_averaged_by_their_images_are_those_of_all_images() -> None:
    """As a round averages weights: three of eight images and five of eight."""
    nets = [make(**STANDARD) for _ in range(3)]
    statistics = torch.randn(8, moments_of(nets[0]).shape[1]) * 3 + 1
    for net, part in zip(nets, (statistics[:3], statistics[3:], statistics), strict=True):
        net.observe(part)
    mean = 3 / 8 * moments_of(nets[0]) + 5 / 8 * moments_of(nets[1])
    torch.testing.assert_close(mean, moments_of(nets[2]))
    seen = nets[2]._standard(statistics)
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(seen.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(dim=0, correction=0), torch.ones(seen.shape[1]), atol=1e-2, rtol=0)


def test_before_anybody_has_looked_statistics_stay_as_they_are() -> None:
    plain, standard = (make(**{**STANDARD, "standardise": given}) for given in (0, 1))
    images = torch.rand(3, 1, 32, 32)
    assert torch.equal(plain(images), standard(images))


STUDY = MINIMAL.replace('name = "cnn"', 'name = "scattering"\noptions = { standardise = 1, centre = 0 }')


@pytest.mark.parametrize(
    "change",
    [
        ('mode = "off"', 'mode = "local"\nepsilon = 4\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.2'),
        ("batch = 8", 'batch = 8\naugmentation = ["noise"]'),
        ("min_sites = 2", 'min_sites = 2\nstrategy = "fedadam"'),
    ],
)
def test_exact_moments_are_refused_where_they_would_tell_or_be_wrong(change: tuple[str, str]) -> None:
    network_of(parse_study(STUDY))
    with pytest.raises(InputError, match=r"model\.options\.standardise"):
        network_of(parse_study(STUDY.replace(*change)))
