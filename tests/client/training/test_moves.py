from itertools import product

import pytest
import torch

from client.training.moves import AFFINE, KEPT, Moves, draw

NAMES = ("flip", "quarter", *sorted(AFFINE))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sixteen images [n, 1, *size] with one block each, and the block's box [n, 1, 1 + 2 sides]."""
    images, boxes = torch.zeros(16, 1, *size), torch.zeros(16, 1, 1 + 2 * len(size))
    for number in range(16):
        least = [side // 4 + (number * 3 + axis) % 3 for axis, side in enumerate(size)]
        most = [low + side // 4 + number % 2 for low, side in zip(least, size, strict=True)]
        block = images[number, 0]
        for axis, (low, high) in enumerate(zip(least, most, strict=True)):
            block = block.narrow(axis, low, high - low)
        block.fill_(1)
        boxes[number, 0] = torch.tensor([0, *least, *most], dtype=torch.float32)
    return images, boxes


def extent(image: torch.Tensor) -> torch.Tensor:
    """The box around what is brighter than a half, [2 × sides]."""
    places = (image > 0.5).nonzero().float()
    return torch.cat([places.amin(0), places.amax(0) + 1])


@pytest.mark.parametrize(("name", "size"), [*product(NAMES, [(24, 24), (24, 40), (16, 24, 24)])])
def test_image_mask_and_box_move_together(name: str, size: tuple[int, ...]) -> None:
    images, boxes = blocks(size)
    moves = draw({name}, 16, size, generator())
    moved, masks, found = moves.of_images(images), moves.of_masks(images[:, 0].byte()), moves.of_boxes(boxes, size)
    assert not torch.equal(moved, images)
    assert masks.dtype == torch.uint8
    assert ((moved[:, 0] > 0.5) != (masks > 0)).float().mean() < 0.01
    slack = 0.01 if name in ("flip", "quarter") else 3.0  # the box of a turned block is larger than the block
    for image, box in zip(moved[:, 0], found[:, 0], strict=True):
        assert box[0] == 0
        assert (extent(image) - box[1:]).abs().max() <= slack


def test_symmetries_are_exact_and_their_own_inverse() -> None:
    images = torch.rand(32, 2, 6, 6, generator=generator(1))
    moves = draw({"flip"}, 32, (6, 6), generator())
    assert 0 < moves.mirrored.sum() < 32
    assert torch.equal(moves.of_images(moves.of_images(images)), images)


def test_flip_and_quarter_together_reach_every_symmetry() -> None:
    square = torch.arange(4.0).reshape(1, 1, 2, 2)
    moved = draw({"flip", "quarter"}, 400, (2, 2), generator()).of_images(square.expand(400, 1, 2, 2))
    assert len({tuple(one.flatten().tolist()) for one in moved}) == 8


def test_a_crop_shows_a_part_of_the_image_and_nothing_outside_it() -> None:
    ramp = torch.linspace(0.2, 0.8, 64).expand(64, 1, 64, 64)
    moved = draw({"crop"}, 64, (64, 64), generator()).of_images(ramp)
    assert moved.min() >= 0.2 - 1e-6 and moved.max() <= 0.8 + 1e-6
    spread = moved[:, 0, 0, -1] - moved[:, 0, 0, 0]
    assert (spread >= 0.6 * 0.74).all() and (spread <= 0.6 + 1e-6).all() and spread.std() > 0.01


def test_a_box_of_which_too_little_is_left_is_taken_away() -> None:
    away = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])  # to the left by `shift` half sides
    box = torch.tensor([[[3.0, 4.0, 0.0, 8.0, 4.0], [-1.0, -1.0, -1.0, -1.0, -1.0]]])
    for pixels, kept in ((2.9, True), (3.1, False)):
        affine = away.clone()
        affine[0, 0, 2] = pixels / 8  # of a side of 16 pixels
        moves = Moves(torch.zeros(1, 2, dtype=torch.bool), torch.zeros(1, dtype=torch.bool), affine)
        found = moves.of_boxes(box, (16, 16))[0]
        assert found[1].tolist() == [-1] * 5
        if kept:
            torch.testing.assert_close(found[0], torch.tensor([3.0, 4.0, 0.0, 8.0, 4 - pixels]))
            assert (4 - pixels) / 4 >= KEPT
        else:
            assert found[0].tolist() == [-1] * 5
