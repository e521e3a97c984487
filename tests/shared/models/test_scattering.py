import pytest
import torch

from shared.models.layers import Output
from shared.models.reference import reference_images
from shared.models.registry import build
from shared.models.scattering import Scattering
from shared.models.wavelets import Wavelets
from shared.study import Model


def make(**options: int | float | str) -> Scattering:
    net = build(Model(name="scattering", options=dict(options)), channels=1, classes=2, size=(32, 32), seed=0)
    assert isinstance(net, Scattering)
    return net


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
    assert net.centre.grad is not None and net.centre.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.head.parameters())
    net.centre.grad = None
    torch.autograd.backward(output.logits.sum())
    assert net.centre.grad is None


def test_descent_on_the_penalty_finds_the_mean() -> None:
    net, images = make(), torch.rand(8, 1, 32, 32)
    for _ in range(60):
        net.centre.grad = None
        torch.autograd.backward(net(images).penalty.mean())
        assert net.centre.grad is not None
        with torch.no_grad():
            net.centre -= 0.5 * net.centre.grad
    with torch.no_grad():
        away = (net.wavelets(images) - net.offset) @ net.decorrelate - net.gain * net.centre
    assert away.mean(dim=0).norm() < 1e-3 * (net.gain * net.centre).norm()


def test_in_evaluation_there_are_logits_only() -> None:
    assert make().eval()(torch.rand(2, 1, 32, 32)).tolist() == [[0, 0], [0, 0]]
