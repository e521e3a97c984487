from math import log

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from shared.meaning import Window
from shared.models.views import views_of
from shared.tasks.masks import Loss, agreement, loss_of, masks_of, patches
from shared.tasks.symmetries import symmetries

ONE = (1.0, 1.0)


def square(top: int, left: int, side: int = 4, whole: int = 16) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros((whole, whole), np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask


class TestAgreement:
    def test_a_mask_agrees_with_itself(self) -> None:
        assert agreement(square(3, 3), square(3, 3), ONE, 0.0) == [16, 16, 16, 0.0, 1.0]

    def test_a_square_shifted_by_three(self) -> None:
        """One column of four is shared; the far edges lie three pixels apart."""
        shared, found, drawn, distance, _ = agreement(square(3, 3), square(3, 6), ONE, 0.0)
        assert (shared, found, drawn, distance) == (4, 16, 16, 3.0)

    def test_distances_are_in_the_unit_of_the_spacing(self) -> None:
        assert agreement(square(3, 3), square(3, 6), (2.0, 0.5), 0.0)[3] == 1.5
        assert agreement(square(3, 3), square(6, 3), (2.0, 0.5), 0.0)[3] == 6.0

    def test_surface_dice_allows_the_tolerance(self) -> None:
        """Of a 4 × 4 square's 12 edge pixels, those of one side are 1 from the same square moved by 1; none further."""
        assert agreement(square(3, 3), square(3, 4), ONE, 1.0)[4] == 1.0
        nearly = agreement(square(3, 3), square(3, 4), ONE, 0.0)[4]
        assert nearly == 6 / 12  # two rows of three stay edges of both

    @pytest.mark.parametrize(("found", "drawn"), [(False, True), (True, False), (False, False)])
    def test_what_is_empty_has_no_distance(self, found: bool, drawn: bool) -> None:
        full, empty = square(3, 3), np.zeros((16, 16), np.bool_)
        counts = agreement(full if found else empty, full if drawn else empty, ONE, 1.0)
        assert counts[:3] == [0, 16 * found, 16 * drawn]
        assert np.isnan(counts[3])
        assert counts[4] == 0.0

    def test_volumes_too(self) -> None:
        first, second = np.zeros((2, 8, 8, 8), np.bool_)
        first[1:3, 2:6, 2:6] = second[4:6, 2:6, 2:6] = True
        assert agreement(first, second, (5.0, 1.0, 1.0), 0.0) == [0, 32, 32, 15.0, 0.0]


class TestLoss:
    def certain(self, target: Tensor, classes: int) -> Tensor:
        """Logits that leave no doubt."""
        return 40 * (torch.arange(classes)[None, :, None, None] == target[:, None]).float() - 20

    @pytest.mark.parametrize("name", ["dice-ce", "dice-focal", "ce"])
    def test_the_right_answer_costs_nothing(self, name: Loss) -> None:
        target = torch.randint(0, 3, (2, 6, 6), generator=Generator().manual_seed(0))
        for logits, alone in ((self.certain(target, 3), False), (self.certain(target, 3)[:, 1:], True)):
            assert loss_of(logits, target, (1.0, 1.0), name, alone=alone).abs().max() < 1e-5

    def test_no_opinion_costs_as_on_paper(self) -> None:
        """Two classes, half of the 16 pixels: cross entropy log 2; soft Dice (2 × 4 + 1) / (8 + 8 + 1)."""
        target = torch.tensor([[0, 1] * 8]).reshape(1, 4, 4)
        flat = torch.zeros(1, 2, 4, 4)
        assert loss_of(flat, target, (1.0,), "ce", alone=False).item() == pytest.approx(log(2), abs=1e-6)
        both = log(2) + 1 - 9 / 17
        assert loss_of(flat, target, (1.0,), "dice-ce", alone=False).item() == pytest.approx(both, abs=1e-6)
        focal = log(2) / 4 + 1 - 9 / 17
        assert loss_of(flat, target, (1.0,), "dice-focal", alone=False).item() == pytest.approx(focal, abs=1e-6)

    def test_a_weight_scales_its_structure_only(self) -> None:
        target = torch.tensor([[0, 1] * 8]).reshape(1, 4, 4)
        flat = torch.zeros(1, 2, 4, 4)
        heavy = loss_of(flat, target, (3.0,), "ce", alone=False).item()
        assert heavy == pytest.approx((1 + 3) / 2 * log(2), abs=1e-6)

    def test_an_empty_structure_still_has_a_gradient(self) -> None:
        logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
        torch.autograd.backward(loss_of(logits, torch.zeros(1, 4, 4), (1.0,), "dice-ce", alone=False).sum())
        assert logits.grad is not None
        assert (logits.grad[:, 1] > 0).all()


class TestPatches:
    images = torch.arange(2 * 20 * 30.0).reshape(2, 1, 20, 30)

    def test_image_and_mask_stay_together_and_repeat_with_the_generator(self) -> None:
        target = (self.images[:, 0] % 7).to(torch.uint8)
        first, again = (patches(self.images, target, 12, 0.5, Generator().manual_seed(3)) for _ in range(2))
        assert first[0].shape == (2, 1, 12, 12)
        assert torch.equal(first[1], (first[0][:, 0] % 7).to(torch.uint8))
        assert torch.equal(first[0], again[0])

    def test_foreground_is_found_wherever_it_is(self) -> None:
        for row, column in ((0, 0), (19, 29), (3, 25)):
            target = torch.zeros(2, 20, 30, dtype=torch.uint8)
            target[:, row, column] = 1
            _, found = patches(self.images, target, 8, 1.0, Generator().manual_seed(row))
            assert (found.flatten(1).sum(dim=1) == 1).all()

    def test_one_images_patch_does_not_depend_on_anothers_mask(self) -> None:
        target = torch.zeros(2, 20, 30, dtype=torch.uint8)
        other = target.clone()
        other[0, 4:9, 4:9] = 1
        alone, beside = (patches(self.images, t, 8, 1.0, Generator().manual_seed(0))[0][1] for t in (target, other))
        assert torch.equal(alone, beside)

    def test_short_sides_are_taken_whole(self) -> None:
        given, target = patches(self.images, torch.zeros(2, 20, 30), 24, 0.5, Generator().manual_seed(0))
        assert given.shape == (2, 1, 20, 24)
        assert target.shape == (2, 20, 24)


def pixelwise(seed: int = 0, outputs: int = 3) -> nn.Module:
    """A convolution that looks at one pixel: nothing beside it matters."""
    torch.manual_seed(seed)
    return nn.Conv2d(1, outputs, kernel_size=1).eval()


class TestMasks:
    images = torch.rand(3, 1, 20, 26, generator=Generator().manual_seed(1))

    def masks(self, module: nn.Module, *, views: int = 1, patch: int = 0, alone: bool = False) -> Tensor:
        with torch.inference_mode():
            window = Window(size=(patch, patch)) if patch else None
            return masks_of(module, self.images, views, window=window, alone=alone, mirrored=[0, 1, 2])

    def test_exactly_the_largest(self) -> None:
        logits = pixelwise()(self.images)
        for label in (1, 2):
            assert torch.equal(self.masks(pixelwise())[:, label - 1], logits.argmax(dim=1) == label)

    def test_each_alone(self) -> None:
        assert torch.equal(self.masks(pixelwise(), alone=True), pixelwise()(self.images).sigmoid() > 0.5)

    def test_a_sliding_window_finds_what_the_whole_shows(self) -> None:
        assert torch.equal(self.masks(pixelwise(), patch=8), self.masks(pixelwise()))

    @pytest.mark.parametrize("views", [2, 8])
    def test_views_are_turned_back(self, views: int) -> None:
        assert torch.equal(self.masks(pixelwise(), views=views), self.masks(pixelwise()))

    def test_labels_with_a_side_change_places_in_the_mirror(self) -> None:
        """A network that calls the left half of an image 1 and the right half 2, whatever it shows."""

        class Halves(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                right = torch.arange(images.shape[-1]).expand(len(images), *images.shape[2:]) >= images.shape[-1] // 2
                return torch.stack([torch.zeros(right.shape), 9.0 * ~right, 9.0 * right], dim=1)

        found = masks_of(Halves(), self.images, 2, window=None, alone=False, mirrored=[0, 2, 1])
        assert found[:, 0, :, :13].all()
        assert found[:, 1, :, 13:].all()


@pytest.mark.parametrize(("views", "side"), [(1, 6), (2, 6), (8, 6), (8, 4)])
def test_symmetries_are_the_views_of_the_other_kinds(views: int, side: int) -> None:
    image = torch.rand(2, 1, 6, side)
    made = [
        turned.transpose(2, 3) if swapped else turned
        for flips, swapped in symmetries(views, square=side == 6)
        for turned in [image.flip(flips)]
    ]
    expected = views_of(image, views)
    assert len(made) == len(expected)
    for one in expected:
        assert any(one.shape == other.shape and torch.equal(one, other) for other in made)
