import numpy as np
import pytest
import torch
from torch import Generator, nn

from shared.errors import InputError, MisuseError
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.registry import kind_of
from shared.tasks.structures import INTEGERS


def study(options: str = "", labels: str = '["left", "right"]', more: str = "", evaluation: str = "") -> Study:
    task = f'[task]\nkind = "segmentation"\nlabels = {labels}\n{more}\n[task.options]\n{options}\n'
    return parse_study(MINIMAL.replace('[task]\nlabels = ["clear", "nodule"]\n', task) + evaluation)


class Known(nn.Module):
    """Sure that the brightest pixels are the second structure, those in the middle the first."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([9 * (images < 0.3), 9 * ((images >= 0.3) & (images < 0.7)), 9 * (images >= 0.7)], 1).float()


def test_two_thirds_of_a_structure() -> None:
    """Found 2 × 2, drawn 2 × 4, all of it shared: Dice 2 × 4 / (4 + 8) = 2/3. The other structure is nowhere."""
    kind = kind_of(study())
    images, target = np.zeros((1, 1, 8, 8), np.float32), np.zeros((1, 8, 8), np.uint8)
    images[0, 0, 2:4, 2:4] = 0.5
    target[0, 2:4, 2:6] = 1
    found = kind.measure(Known(), torch.from_numpy(images), torch.from_numpy(target), 1)
    assert found[0, :3].tolist() == [4, 4, 8]
    assert found[0, 5:8].tolist() == [0, 0, 0]
    counts = kind.count(found, target, np.zeros(1, np.int64))
    assert len(counts) == kind.counts == 2 * INTEGERS
    judged = kind.judge(counts)
    assert judged.headline.value == pytest.approx(2 / 3, abs=1e-6)
    left, right = judged.figure("structure_dice", "left"), judged.figure("structure_dice", "right")
    assert left is not None
    assert right is not None
    assert left.value == pytest.approx(2 / 3, abs=1e-6)
    assert right.value is None
    assert kind.presence(target).tolist() == [[True, False]]


def test_a_step_learns_from_patches() -> None:
    kind = kind_of(study("patch = 16"))
    images, target = torch.rand(3, 1, 32, 32), torch.zeros(3, 32, 32, dtype=torch.uint8)
    given, known = kind.example(images, target, Generator().manual_seed(0))
    assert given.shape == (3, 1, 16, 16)
    assert known.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": "[]"}, r"task.labels"),
        ({"options": "patch = 4"}, r"task.options.patch: expected 0, or at least 8"),
        ({"options": 'loss = "hinge"'}, r"task.options.loss"),
        (
            {"more": 'mirrored = [["left", "right"]]', "evaluation": "[evaluation]\nviews = 8\n"},
            r"evaluation.views of 1 or 2 where labels say a side",
        ),
        ({"evaluation": "[evaluation]\nepsilon = 1.0\ndelta = 1e-5\n"}, r"evaluation.epsilon"),
    ],
)
def test_what_it_cannot_do_it_refuses(changed: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind_of(study(**changed))


def test_a_weight_for_every_structure() -> None:
    with pytest.raises(MisuseError, match="class weights"):
        kind_of(study()).loss(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 8), (1.0,))
