"""Boxes with torch: the loss of a RetinaNet for each image, and the boxes it finds. Any number of sides.

A box: its least place along each side, then its greatest, in pixels. Only imported by functions that hospitals call:
the coordinator has no torch. The loss has no step that depends on the data, so torch.func can map it over patients.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from monai.data.box_utils import non_max_suppression
from monai.losses.focal_loss import FocalLoss
from torch import Tensor, nn

from shared.models.layers import Output, parts_of
from shared.tasks.symmetries import symmetries

#: An anchor is a box's from this overlap on, nobody's below the other, and not looked at between (Lin et al. 2017).
MATCHED, EMPTY = 0.5, 0.4
#: Of the focal loss: how little an anchor counts that is right already, and the weight of those with a box.
GAMMA, ALPHA = 2.0, 0.25
#: Where the loss of a place turns from square to straight; the most a side may grow, as a logarithm.
BETA, MOST_GROWTH = 1 / 9, 4.0
#: Shortest side, in pixels, that is reckoned with.
SHORTEST = 1e-3
#: Scores below are no detections; so many of an image go into the suppression of those that overlap.
FLOOR, CANDIDATES = 0.01, 300


class Rows(NamedTuple):
    """The output [n, anchors, …] of shared/models/retinanet.py in its parts."""

    logits: Tensor
    moves: Tensor
    anchors: Tensor

    @classmethod
    def of(cls, output: Tensor, labels: int) -> "Rows":
        """`labels` logits, then moves and anchors, equally many."""
        both = (output.shape[-1] - labels) // 2
        logits, moves, anchors = torch.split(output.float(), [labels, both, both], dim=-1)
        return cls(logits, moves, anchors)

    def boxes(self) -> Tensor:
        """The anchors moved, [n, anchors, 2 × sides]."""
        centre, side = _centred(self.anchors)
        shift, growth = self.moves.chunk(2, dim=-1)
        centre, half = centre + shift * side, side * growth.clamp(-MOST_GROWTH, MOST_GROWTH).exp() / 2
        return torch.cat([centre - half, centre + half], dim=-1)


def loss_of(output: Tensor | Output, target: Tensor, weights: Sequence[float]) -> Tensor:
    """[n] from the output and boxes [n, K, 1 + 2 × sides], −1 first where there is none: focal loss of the scores and
    smooth L1 of the moves, both summed over the anchors and divided by how many are matched. A label's weight scales
    the scores' loss of its boxes."""
    made, penalty = parts_of(output)
    rows = Rows.of(made, len(weights))
    anchors = rows.anchors.detach()
    overlaps = overlap(target[..., 1:].float(), anchors) * (target[..., :1] >= 0)  # [n, K, A]
    best, whose = overlaps.max(dim=1)
    nearest = overlaps.amax(dim=2, keepdim=True)  # of each box: it has its nearest anchors, however far they are
    forced = (overlaps >= nearest) & (nearest > 0)
    owned = forced.any(dim=1)
    whose = torch.where(owned, forced.to(torch.uint8).argmax(dim=1), whose)
    matched = owned | (best >= MATCHED)
    box = target.float().gather(1, whose[..., None].expand(*whose.shape, target.shape[-1]))  # [n, A, 1 + 2 × sides]
    label = torch.arange(len(weights), device=target.device)
    hot = ((box[..., :1] == label) & matched[..., None]).to(rows.logits)  # [n, A, labels]
    scale = 1 + hot * (rows.logits.new_tensor(list(weights)) - 1)
    focal = FocalLoss(gamma=GAMMA, alpha=ALPHA, reduction="none")
    scores = focal(rows.logits.movedim(1, 2), hot.movedim(1, 2)).movedim(1, 2) * scale
    looked_at = (matched | (best < EMPTY))[..., None]
    places = F.smooth_l1_loss(rows.moves, _moves(box[..., 1:], anchors), reduction="none", beta=BETA)
    count = matched.sum(dim=1).clamp_min(1)
    total = (scores * looked_at).flatten(1).sum(dim=1) + (places * matched[..., None]).flatten(1).sum(dim=1)
    losses: Tensor = total / count + penalty
    return losses


def overlap(some: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes [n, a, 2 × sides] and [n, b, 2 × sides], [n, a, b]; 0 of one without a size."""
    (low, high), (other_low, other_high) = some.chunk(2, dim=-1), others.chunk(2, dim=-1)
    both_low = torch.maximum(low[..., :, None, :], other_low[..., None, :, :])
    both_high = torch.minimum(high[..., :, None, :], other_high[..., None, :, :])
    shared = (both_high - both_low).clamp_min(0).prod(dim=-1)
    each, other = (high - low).clamp_min(0).prod(dim=-1), (other_high - other_low).clamp_min(0).prod(dim=-1)
    return shared / (each[..., :, None] + other[..., None, :] - shared).clamp_min(SHORTEST)


def detections(
    module: nn.Module, images: Tensor, views: int, *, labels: int, most: int, apart: float, mirrored: Sequence[int]
) -> list[Tensor]:
    """Of each image float32 [d, 2 + 2 × sides], d at most `most`: label, score and box, the highest score first. Boxes
    of all views together; of two with the same label that overlap by more than `apart`, the one with the higher score.
    """
    size = images.shape[2:]
    found = []
    for flips, swapped in symmetries(views, square=size[-1] == size[-2]):
        turned = images.flip(flips)
        rows = Rows.of(module(turned.transpose(-1, -2) if swapped else turned), labels)
        scores = rows.logits.sigmoid()
        scores = scores[..., list(mirrored)] if flips == (-1,) else scores
        found.append((scores, _back(rows.boxes(), size, flips, swapped=swapped)))
    scores, boxes = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    limit = boxes.new_tensor([*size, *size])
    inside = torch.minimum(boxes.clamp_min(0), limit)
    return [_chosen(*one, most=most, apart=apart) for one in zip(scores, inside, strict=True)]


def _chosen(scores: Tensor, boxes: Tensor, *, most: int, apart: float) -> Tensor:
    """[A, labels] and [A, 2 × sides] of one image → [d, 2 + 2 × sides]."""
    kept = []
    low, high = boxes.chunk(2, dim=-1)
    whole = (high - low).amin(dim=-1) > SHORTEST
    for label, column in enumerate(scores.unbind(dim=1)):
        score, order = torch.where(whole, column, 0.0).topk(min(CANDIDATES, len(column)))
        order, score = order[score >= FLOOR], score[score >= FLOOR]
        if len(order):
            best = non_max_suppression(boxes[order], score, apart, max_proposals=most)
            names = torch.full_like(score[best, None], label)
            kept.append(torch.cat([names, score[best, None], boxes[order[best]]], dim=1))
    if not kept:
        return boxes.new_zeros(0, 2 + boxes.shape[1])
    whole_list = torch.cat(kept)
    return whole_list[whole_list[:, 1].argsort(descending=True, stable=True)[:most]]


def _back(boxes: Tensor, size: Sequence[int], flips: Sequence[int], *, swapped: bool) -> Tensor:
    """Boxes found in a view, in the image as it is."""
    low, high = (list(part.unbind(dim=-1)) for part in boxes.chunk(2, dim=-1))
    if swapped:
        for part in (low, high):
            part[-1], part[-2] = part[-2], part[-1]
    for side in flips:
        low[side], high[side] = size[side] - high[side], size[side] - low[side]
    return torch.stack([*low, *high], dim=-1)


def _moves(boxes: Tensor, anchors: Tensor) -> Tensor:
    """What turns the anchors into the boxes: the inverse of `Rows.boxes`."""
    (centre, side), (wanted, length) = _centred(anchors), _centred(boxes)
    return torch.cat([(wanted - centre) / side, (length / side).log().clamp(-MOST_GROWTH, MOST_GROWTH)], dim=-1)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and sides, [..., sides] each."""
    low, high = boxes.chunk(2, dim=-1)
    return (low + high) / 2, (high - low).clamp_min(SHORTEST)
