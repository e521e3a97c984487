import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from client.images import Images
from client.training.evaluate import measures
from shared.study import MINIMAL, parse_study
from shared.tasks.registry import kind_of

KIND = kind_of(parse_study(MINIMAL))


def scores(net: nn.Module, images: Images, rows: NDArray[np.int64], views: int = 1) -> NDArray[np.float64]:
    """Of the finding, [n]; both classes' add up to 1."""
    found = measures(KIND, net, images, rows, views)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    return found[:, 1]


class Mean(nn.Module):
    """Logits (0, mean of the image)."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3)) * self.gain
        return torch.stack([torch.zeros_like(mean), mean], dim=1)


def test_scores_are_the_last_labels_probability_in_the_order_of_rows() -> None:
    pixels = np.linspace(0, 1, 5, dtype=np.float32).reshape(5, 1, 1, 1)
    images = Images(pixels, np.zeros(5, np.int64), np.arange(5), (b"",) * 5, np.zeros(5, np.int64))
    made = scores(Mean().train(), images, np.array([4, 0, 2]))
    np.testing.assert_allclose(made, 1 / (1 + np.exp([-1.0, 0.0, -0.5])), rtol=1e-6)
    assert made.dtype == np.float64


def test_no_rows_no_scores_and_the_mode_is_kept() -> None:
    images = Images(np.zeros((0, 1, 4, 4), np.float32), *(np.zeros(0, np.int64),) * 2, (), np.zeros(0, np.int64))
    for training in (True, False):
        net = Mean().train(training)
        assert scores(net, images, np.empty(0, np.int64)).shape == (0,)
        assert net.training is training


@pytest.mark.parametrize(("size", "views", "seen"), [((4, 4), 1, 1), ((4, 4), 2, 2), ((4, 4), 8, 8), ((4, 6), 8, 4)])
def test_scores_are_the_mean_over_the_views(size: tuple[int, int], views: int, seen: int) -> None:
    """A model that looks at one corner sees each symmetry's corner once."""
    pixels = np.random.default_rng(0).random((3, 1, *size), np.float32)

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            corner = images[:, 0, 0, 0] * self.weight
            return torch.stack([torch.zeros_like(corner), corner], dim=1)

    net = Corner()
    images = Images(pixels, np.zeros(3, np.int64), np.arange(3), (b"a", b"b", b"c"), np.zeros(3, np.int64))
    found = scores(net, images, np.arange(3), views)
    assert net.calls == seen
    corners = np.stack([pixels[:, 0, 0, 0], pixels[:, 0, 0, -1], pixels[:, 0, -1, 0], pixels[:, 0, -1, -1]])
    used = corners[: min(seen, 4)]
    np.testing.assert_allclose(found, (1 / (1 + np.exp(-used))).mean(0), rtol=1e-5)


class LeftFace(nn.Module):
    """Logits (0, mean of the first columns), of images or volumes; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        face = images[..., 0].flatten(1).mean(1) * self.weight
        return torch.stack([torch.zeros_like(face), face], dim=1)


@pytest.mark.parametrize("views", [1, 2])
def test_two_views_of_a_volume_are_itself_and_its_mirror_image_left_to_right(views: int) -> None:
    pixels = np.random.default_rng(0).random((3, 1, 2, 3, 4), np.float32)
    images = Images(pixels, np.zeros(3, np.int64), np.arange(3), (b"a", b"b", b"c"), np.zeros(3, np.int64))
    net = LeftFace()
    found = scores(net, images, np.array([2, 0]), views)
    chosen = torch.from_numpy(pixels[[2, 0]])
    expected = [chosen, chosen.flip(4)][:views]
    assert len(net.seen) == views
    assert all(torch.equal(*pair) for pair in zip(net.seen, expected, strict=True))
    faces = np.stack([pixels[[2, 0], ..., 0].mean((1, 2, 3)), pixels[[2, 0], ..., -1].mean((1, 2, 3))])[:views]
    np.testing.assert_allclose(found, (1 / (1 + np.exp(-faces))).mean(0), rtol=1e-5)
