import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from shared.errors import InputError, MisuseError
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.detection import KEPT, LEARNT, OVERLAPS, hits
from shared.tasks.registry import kind_of


def study(model: str = "retinanet", labels: str = '["nodule", "mass"]', more: str = "", evaluation: str = "") -> Study:
    task = f'[task]\nkind = "detection"\nlabels = {labels}\n{more}\n'
    text = MINIMAL.replace('[task]\nlabels = ["clear", "nodule"]\n', task).replace('"cnn"', f'"{model}"')
    return parse_study(text + evaluation)


def test_a_drawn_box_is_hit_once_by_the_surest() -> None:
    found = np.array([[0, 0.9, 0, 0, 8, 8], [0, 0.8, 0, 0, 8, 10], [0, 0.7, 20, 20, 24, 24]], np.float64)
    drawn = np.array([[0, 0, 0, 8, 10], [0, 20, 20, 28, 24]], np.float64)
    assert hits(found, drawn, (0.3, 0.6)).tolist() == [[0, 0.9, 1, 1], [0, 0.8, 0, 0], [0, 0.7, 1, 0]]


def test_another_label_is_no_hit() -> None:
    found, drawn = np.array([[1, 0.9, 0, 0, 8, 8.0]]), np.array([[0, 0, 0, 8, 8.0]])
    assert hits(found, drawn, (0.3,)).tolist() == [[1, 0.9, 0]]
    assert hits(found, np.zeros((0, 5)), (0.3,)).tolist() == [[1, 0.9, 0]]


class Sees(nn.Module):
    """Sure of an 8 × 8 nodule at the top left, and of nothing else."""

    def forward(self, images: Tensor) -> Tensor:
        row = torch.tensor([[4.0, -20.0, *[0.0] * 4, 0, 0, 8, 8], [-20.0, -20.0, *[0.0] * 4, 8, 8, 16, 16]])
        return row.expand(len(images), -1, -1)


def test_from_images_to_figures_by_hand() -> None:
    """One of two nodules is found, in two images, without an alarm; the mass is not. In the third image it is an alarm:
    a third of an alarm per image, at the same score as the two hits."""
    kind = kind_of(study())
    target = np.full((3, 2, 5), -1, np.float32)
    target[0] = [[0, 0, 0, 8, 8], [0, 20, 20, 28, 28]]
    target[1, 0], target[1, 1] = [0, 0, 0, 8, 7], [1, 1, 1, 9, 9]
    found = kind.measure(Sees(), torch.zeros(3, 1, 32, 32), torch.from_numpy(target), 1)
    assert found.shape == (3, KEPT * (3 + len(OVERLAPS)) + 2)
    assert found[:, -2:].tolist() == [[2, 0], [1, 1], [0, 0]]
    judged = kind.judge(kind.count(found, target, np.arange(3)))
    nodule, mass = judged.figure("label_froc_score", "nodule"), judged.figure("label_froc_score", "mass")
    assert nodule is not None
    assert mass is not None
    full, line = 2 / 3, (1 / 8 + 1 / 4) * 3 * 2 / 3  # up to a third of an alarm a straight line
    assert nodule.value == pytest.approx((line + 5 * full) / 7)
    assert mass.value == 0.0
    assert judged.headline.value == pytest.approx((line + 5 * full) / 14)
    precision = judged.figure("average_precision", "nodule")
    assert precision is not None
    assert precision.value == pytest.approx(full * full)
    assert kind.presence(target).tolist() == [[True, False], [True, True], [False, False]]


def test_every_step_has_as_many_places_for_boxes() -> None:
    kind = kind_of(study())
    for held in (1, 4, 40):
        _, target = kind.example(torch.zeros(2, 1, 32, 32), torch.full((2, held, 5), 0.5), Generator())
        assert target.shape == (2, LEARNT, 5)
        assert (target[:, min(held, LEARNT) :] == -1).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": "[]"}, r"task.labels"),
        ({"model": "unet"}, r'model.name: expected "retinanet" for detection, got "unet"'),
        ({"more": "options = { overlap = 2.0 }"}, r"task.options.overlap"),
        (
            {"more": 'mirrored = [["nodule", "mass"]]', "evaluation": "[evaluation]\nviews = 8\n"},
            r"evaluation.views of 1 or 2 where labels say a side",
        ),
    ],
)
def test_what_it_cannot_do_it_refuses(changed: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind_of(study(**changed))


def test_a_weight_for_every_label() -> None:
    with pytest.raises(MisuseError, match="class weights"):
        kind_of(study()).loss(torch.zeros(1, 3, 10), torch.zeros(1, LEARNT, 5), (1.0,))
