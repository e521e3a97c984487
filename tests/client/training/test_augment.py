import pytest
import torch

from client.training.augment import NAMES, augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_each_keeps_shape_and_range_and_follows_the_seed(name: str, size: tuple[int, int]) -> None:
    images = torch.rand(16, 2, *size, generator=generator(9))
    once, again, other = (augment(images, [name], generator(seed)) for seed in (1, 1, 2))
    assert once.shape == images.shape
    assert once.min() >= 0 and once.max() <= 1
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_no_names_change_nothing() -> None:
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(augment(images, [], generator()), images)


def test_the_order_of_names_does_not_matter() -> None:
    images = torch.rand(4, 1, 8, 8)
    names = sorted(NAMES)
    assert torch.equal(augment(images, names, generator()), augment(images, names[::-1], generator()))


def test_flip_is_left_right() -> None:
    image = torch.tensor([[0.0, 1.0], [0.2, 0.6]]).expand(32, 1, 2, 2)
    seen = {tuple(one.flatten().tolist()) for one in augment(image, ["flip"], generator())}
    assert seen == {tuple(image[0].flatten().tolist()), tuple(image[0].flip(2).flatten().tolist())}


def test_quarter_reaches_all_eight_symmetries_and_no_other() -> None:
    square = torch.arange(9.0).reshape(1, 1, 3, 3) / 9
    turned = [torch.rot90(s, k, (2, 3)) for s in (square, square.flip(3)) for k in range(4)]
    seen = {tuple(one.flatten().tolist()) for one in augment(square.expand(256, 1, 3, 3), ["quarter"], generator())}
    assert seen == {tuple(t.flatten().tolist()) for t in turned}


@pytest.mark.parametrize("name", ["rotate", "shift", "scale"])
def test_a_centred_disc_survives_geometry_on_a_rectangle(name: str) -> None:
    y, x = torch.meshgrid(torch.arange(40.0) - 19.5, torch.arange(60.0) - 29.5, indexing="ij")
    disc = ((x * x + y * y) < 100).float().expand(8, 1, 40, 60)
    area = augment(disc, [name], generator()).sum((1, 2, 3)) / disc[0].sum()
    allowed = 0.35 if name == "scale" else 0.02
    assert (area - 1).abs().max() < allowed


def test_rotation_keeps_a_disc_round_on_a_rectangle() -> None:
    y, x = torch.meshgrid(torch.arange(40.0) - 19.5, torch.arange(60.0) - 29.5, indexing="ij")
    disc = ((x * x + y * y) < 100).float().expand(8, 1, 40, 60)
    turned = augment(disc, ["rotate"], generator())
    assert (turned - disc).abs().mean() < 0.01
