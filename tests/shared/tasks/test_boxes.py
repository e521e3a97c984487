from math import log

import pytest
import torch
from torch import Tensor, nn

from shared.tasks.boxes import ALPHA, BETA, Rows, detections, loss_of, overlap

#: An anchor of 8 × 8, one that overlaps it by a third, one far away.
ANCHORS = torch.tensor([[[0.0, 0, 8, 8], [0, 4, 8, 12], [20, 20, 28, 28]]])
SURE = 20.0


def output(logits: list[float], moves: Tensor | None = None) -> Tensor:
    """Of one image and one label."""
    shifted = torch.zeros(1, 3, 4) if moves is None else moves
    return torch.cat([torch.tensor(logits).reshape(1, 3, 1), shifted, ANCHORS], dim=2)


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor([[*rows, *[(-1.0,) * 5] * (4 - len(rows))]])


def test_overlap_by_hand() -> None:
    found = overlap(ANCHORS[:, :1], ANCHORS)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 32 / 96, 0.0]]]))
    cubes = torch.tensor([[[0.0, 0, 0, 2, 2, 2], [1, 1, 1, 3, 3, 3], [5, 5, 5, 4, 4, 4]]])
    torch.testing.assert_close(overlap(cubes, cubes)[0, 0], torch.tensor([1.0, 1 / 15, 0.0]))


class TestLoss:
    def test_the_right_answer_costs_nothing(self) -> None:
        found = loss_of(output([SURE, -SURE, -SURE]), boxes((0, 0, 0, 8, 8)), (1.0,))
        assert found.item() == pytest.approx(0, abs=1e-6)

    def test_an_image_without_boxes_costs_its_alarms(self) -> None:
        """Three anchors with even chances: (1 − α) ¼ log 2 each."""
        found = loss_of(output([0.0, 0.0, 0.0]), boxes(), (1.0,))
        assert found.item() == pytest.approx(3 * (1 - ALPHA) / 4 * log(2), abs=1e-6)

    def test_a_box_far_from_every_anchor_still_has_its_nearest(self) -> None:
        """It overlaps the first two by a little, the second more: that one is asked to find it."""
        asked = loss_of(output([-SURE, SURE, -SURE]), boxes((0, 0, 6, 2, 14)), (1.0,))
        silent = loss_of(output([SURE, -SURE, -SURE]), boxes((0, 0, 6, 2, 14)), (1.0,))
        assert asked.item() < silent.item()

    def test_between_the_two_bounds_an_anchor_is_not_looked_at(self) -> None:
        """The box is the first anchor's; it overlaps the second by 0.45: what that one says is free."""
        box = (0, 0, 0.25, 8, 9.0)
        for logit in (-SURE, 0.0, SURE):
            there = overlap(torch.tensor([[box[1:]]]), ANCHORS)[0, 0]
            assert 0.4 < there[1] < 0.5 < there[0]
            assert loss_of(output([SURE, logit, -SURE]), boxes(box), (1.0,)).item() < 0.1

    def test_moves_are_learnt_of_matched_anchors_only(self) -> None:
        """The box overlaps the first two anchors by two thirds each: it is half as long again, and its centre a quarter
        of a side away, one way or the other. What the third anchor says of places is free."""
        box, free = boxes((0, 0, 0, 8, 12)), torch.zeros(1, 3, 4)
        free[:, 2] = 7.0
        silent = loss_of(output([SURE, SURE, -SURE], free), box, (1.0,)).item()
        assert silent == pytest.approx(straight(0.25) + straight(log(1.5)), rel=1e-4)
        told = free.clone()
        told[0, :2, 1], told[0, :2, 3] = torch.tensor([0.25, -0.25]), log(1.5)
        assert loss_of(output([SURE, SURE, -SURE], told), box, (1.0,)).item() == pytest.approx(0, abs=1e-5)

    def test_a_weight_scales_its_label(self) -> None:
        even = [loss_of(output([0.0, -SURE, -SURE]), boxes((0, 0, 0, 8, 8)), (w,)).item() for w in (1.0, 3.0)]
        assert even[1] == pytest.approx(3 * even[0], rel=1e-5)


def straight(difference: float) -> float:
    """The loss of one place, beyond where it is square."""
    return difference - BETA / 2


def test_moves_make_boxes() -> None:
    moves = torch.zeros(1, 3, 4)
    moves[0, 0] = torch.tensor([0.5, 0, log(2), 0])
    torch.testing.assert_close(Rows.of(output([0.0] * 3, moves), 1).boxes()[0, 0], torch.tensor([0.0, 0, 16, 8]))


class Fixed(nn.Module):
    """Finds a 4 × 6 box wherever an image has its brightest pixel, at its top left; and the same, less sure, 1 further
    right."""

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for image in images[:, 0]:
            row, column = divmod(int(image.argmax()), image.shape[1])
            anchors = torch.tensor([[row, column, row + 4.0, column + 6.0], [row, column + 1.0, row + 4.0, column + 7]])
            rows.append(torch.cat([torch.tensor([[3.0], [2.0]]), torch.zeros(2, 4), anchors], dim=1))
        return torch.stack(rows)


class TestDetections:
    def found(self, views: int, apart: float = 0.3) -> Tensor:
        image = torch.zeros(1, 1, 32, 32)
        image[0, 0, 10, 12] = 1.0
        return detections(Fixed(), image, views, labels=1, most=64, apart=apart, mirrored=[0])[0]

    def test_of_boxes_that_overlap_the_surest_is_kept(self) -> None:
        torch.testing.assert_close(self.found(1), torch.tensor([[0, 1 / (1 + torch.e**-3), 10, 12, 14, 18]]))
        assert len(self.found(1, apart=0.9)) == 2

    def test_views_are_turned_back(self) -> None:
        """In the mirror the pixel is at the other end: the box lies to its other side."""
        mirrored = self.found(2, apart=0.9)
        assert [10, 7, 14, 13] in mirrored[:, 2:].tolist()
        every = self.found(8, apart=0.9)[:, 2:].tolist()
        assert [10, 12, 16, 16] in every  # rows and columns swapped

    def test_nothing_is_found_where_nobody_is_sure(self) -> None:
        class Unsure(Fixed):
            def forward(self, images: Tensor) -> Tensor:
                made = super().forward(images)
                made[..., 0] = -9.0
                return made

        assert detections(Unsure(), torch.rand(2, 1, 16, 16), 1, labels=1, most=8, apart=0.3, mirrored=[0])[
            1
        ].shape == (
            0,
            6,
        )
