from collections.abc import Collection
from itertools import product

import pytest
import torch

from client.training.augment import CONTRAST, NAMES, NOISE, Augmentation
from shared.study import MINIMAL, parse_study
from shared.tasks.base import Target

SIZES = [(8, 8), (6, 10), (8, 8, 8), (3, 6, 10)]


def augment(images: torch.Tensor, names: Collection[str], generator: torch.Generator) -> torch.Tensor:
    return Augmentation(frozenset(names))(images, torch.zeros(len(images)), generator)[0]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "size"), [*product(sorted(NAMES), SIZES)])
def test_each_keeps_shape_and_range_and_follows_the_seed(name: str, size: tuple[int, ...]) -> None:
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


def test_flip_of_a_volume_is_left_right_and_never_head_feet_or_back_front() -> None:
    volume = torch.arange(24.0).reshape(1, 1, 2, 3, 4) / 24
    seen = {tuple(one.flatten().tolist()) for one in augment(volume.expand(32, 1, 2, 3, 4), ["flip"], generator())}
    assert seen == {tuple(volume.flatten().tolist()), tuple(volume.flip(4).flatten().tolist())}


def test_contrast_stretches_a_volume_as_a_whole_around_its_mean() -> None:
    """One factor for all slices: their brightness relative to each other is kept."""
    volumes = 0.4 + 0.2 * torch.rand(16, 1, 3, 4, 5, generator=generator(9))
    mean = volumes.mean((1, 2, 3, 4), keepdim=True)
    factors = (augment(volumes, ["contrast"], generator()) - mean) / (volumes - mean)
    middle = factors.flatten(1).median(1).values
    apart = (volumes - mean).abs() > 0.01  # nearer the mean, float32 leaves no factor to be seen
    assert (factors - middle.reshape(-1, 1, 1, 1, 1))[apart].abs().max() < 1e-3
    assert middle.min() >= 1 / CONTRAST - 1e-3
    assert middle.max() <= CONTRAST + 1e-3
    assert middle.std() > 0.05, "each volume has its own"


def test_noise_differs_in_every_voxel_and_has_the_strength_of_its_volume() -> None:
    volumes = torch.full((16, 1, 8, 8, 8), 0.5)
    grain = augment(volumes, ["noise"], generator()) - volumes
    assert (grain[:, :, 1:] != grain[:, :, :-1]).float().mean() > 0.99, "slices have noise of their own"
    strength = grain.flatten(1).std(1)
    assert strength.max() < NOISE * 1.2
    assert strength.std() > NOISE / 10


SIDES = parse_study(
    MINIMAL.replace('["clear", "nodule"]', '["left", "none", "right"]\nmirrored = [["right", "left"]]').replace(
        "rounds = 2", 'rounds = 2\naugmentation = ["flip"]'
    )
)


@pytest.mark.parametrize("target", ["class", "classes", "mask", "boxes"])
def test_left_and_right_change_places_with_the_image(target: Target) -> None:
    """An image brighter on the side that its label says stays true, mirrored or not."""
    left = torch.zeros(64, 1, 4, 8)
    left[..., 1:3] = 1
    known = {
        "class": torch.zeros(64, dtype=torch.int64),
        "classes": torch.tensor([1, 0, 0]).repeat(64, 1),
        "mask": left[:, 0].byte(),
        "boxes": torch.tensor([[0.0, 0, 1, 4, 3], [-1, -1, -1, -1, -1]]).repeat(64, 1, 1),
    }[target]
    moved, found = Augmentation.of(SIDES, target)(left, known, generator())
    mirrored = moved[:, 0, 0, 5] == 1
    assert 0 < mirrored.sum() < 64
    for turned, own in zip(mirrored.tolist(), found, strict=True):
        side = 2 if turned else 0
        if target == "class":
            assert own == side
        elif target == "classes":
            assert own.tolist() == [int(place == side) for place in range(3)]
        elif target == "mask":
            assert set(own.unique().tolist()) == {0, 1 + side}
        else:
            assert own[0].tolist() == ([2, 0, 5, 4, 7] if turned else [0, 0, 1, 4, 3])
            assert own[1].tolist() == [-1] * 5
