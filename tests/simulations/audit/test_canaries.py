"""Planting: a canary adds just one clip to its own coordinate, and nobody else's gradient changes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from client.dicom.archive import Counts
from client.images import Images, Split
from client.training.gradients.base import Patients
from client.training.gradients.loop import Loop
from client.workbench import Prepared
from shared.models.layers import Output
from simulations.audit.canaries import CODE, CanaryGradients, numbers, picture, with_canaries

SHAPE = (1, 8, 8)
CLIP = 0.01


def loss(output: Tensor | Output, label: Tensor) -> Tensor:
    assert isinstance(output, Tensor)
    return F.cross_entropy(output, label, reduction="none")


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


def patients(*images: np.ndarray[tuple[int, ...], np.dtype[np.float32]], real: int) -> Patients:
    pixels = torch.from_numpy(np.stack(images))[:, None]
    return Patients(pixels, torch.zeros(pixels.shape[:2], dtype=torch.int64), real)


def grey(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.full(SHAPE, value, np.float32)


@pytest.mark.parametrize("number", [0, 1, 2**24 - 1, 123_456])
def test_a_picture_carries_its_number(number: int) -> None:
    image = picture(number, (3, 9, 9))
    assert numbers(image[None]).tolist() == [number]
    assert image.min() >= 0
    assert image.max() <= 1
    assert not image.reshape(-1)[CODE:].any()


def test_no_true_image_is_taken_for_a_canary() -> None:
    noise = np.random.default_rng(0).random((200, *SHAPE)).astype(np.float32)
    flat = np.stack([grey(value) for value in (0.0, 0.5, 0.625, 1.0)])
    nearly = picture(3, SHAPE)
    nearly[0, 0, 0] += np.float32(1e-6)
    assert (numbers(np.concatenate([noise, flat, nearly[None]])) == -1).all()


def test_a_canary_adds_one_clip_to_its_own_coordinate(module: nn.Module) -> None:
    way = CanaryGradients(Loop(), np.array([5, 100, 7]))
    found = way.clipped_sum(module, loss, patients(picture(2, SHAPE), picture(1, SHAPE), real=2), CLIP)
    expected = torch.zeros(130, dtype=torch.float64)
    expected[[7, 100]] = CLIP
    torch.testing.assert_close(found.total, expected)
    assert found.within == 0  # it reaches for more than the clip, and is clipped


def test_canaries_that_stay_within_count_as_whole(module: nn.Module) -> None:
    way = CanaryGradients(Loop(), np.arange(100), inside=0.3)
    found = way.clipped_sum(module, loss, patients(*(picture(k, SHAPE) for k in range(100)), real=100), CLIP)
    assert found.within == pytest.approx(30, abs=2)
    torch.testing.assert_close(found.total[:100], torch.full((100,), CLIP, dtype=torch.float64), rtol=1e-5, atol=0)


def test_everybody_else_has_the_true_gradient(module: nn.Module) -> None:
    others = patients(grey(0.2), grey(0.9), grey(0.0), real=2)
    alone = Loop().clipped_sum(module, loss, others, CLIP)
    among = patients(picture(0, SHAPE), grey(0.2), picture(1, SHAPE), grey(0.9), grey(0.0), real=4)
    found = CanaryGradients(Loop(), np.array([3, 4])).clipped_sum(module, loss, among, CLIP)
    alone.total[[3, 4]] += CLIP
    torch.testing.assert_close(found.total, alone.total)
    assert found.within == alone.within


def test_what_fills_the_shape_up_is_no_canary(module: nn.Module) -> None:
    way = CanaryGradients(Loop(), np.array([3, 4]))
    found = way.clipped_sum(module, loss, patients(picture(0, SHAPE), picture(1, SHAPE), real=1), CLIP)
    assert found.total.nonzero().flatten().tolist() == [3]
    nobody = way.clipped_sum(module, loss, patients(picture(0, SHAPE), real=0), CLIP)
    assert not nobody.total.any()


def test_it_fits_where_the_real_way_does(module: nn.Module) -> None:
    way = CanaryGradients(Loop(), np.array([0]))
    assert way.fits(module) == Loop().fits(module)
    assert way.name == f"{Loop().name} with canaries"


def test_canaries_are_training_patients_of_their_own() -> None:
    images = Images(
        pixels=np.stack([grey(0.1), grey(0.2), grey(0.3)]),
        target=np.array([0, 1, 1]),
        patient=np.array([0, 1, 1]),
        keys=(b"a" * 32, b"b" * 32),
        split=np.array([Split.TRAIN, Split.TEST]),
        place=np.array([2, 0, 1]),
    )
    found = with_canaries(Prepared(images, Counts(usable=3, files=3, skipped={})), np.array([9, 4])).images
    assert found.place is None
    assert found.pixels[:3, 0, 0, 0].tolist() == pytest.approx([0.3, 0.1, 0.2])
    assert numbers(found.pixels).tolist() == [-1, -1, -1, 9, 4]
    assert found.patient.tolist() == [0, 1, 1, 2, 3]
    assert found.patients(Split.TRAIN).tolist() == [0, 2, 3]
    assert found.patients(Split.TEST).tolist() == [1]
    assert len(set(found.keys)) == 4
    assert {len(key) for key in found.keys} == {32}


def test_a_hospital_without_canaries_is_as_it_was() -> None:
    images = Images(grey(0.1)[None], np.array([0]), np.array([0]), (b"a" * 32,), np.array([Split.TRAIN]))
    found = with_canaries(Prepared(images, Counts(usable=3, files=3, skipped={})), np.array([], np.int64)).images
    assert (found.pixels == images.pixels).all()
    assert found.keys == images.keys
