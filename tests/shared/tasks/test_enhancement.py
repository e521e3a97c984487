import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from shared.errors import InputError
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.enhancement import HIGHEST, Enhancement, Options, create, degraded
from shared.tasks.registry import kind_of


class Adds(nn.Module):
    """An image plus a number: an error that is known."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, images: Tensor) -> Tensor:
        return images + self.by


def study_of(options: str = "", more: str = "") -> Study:
    task = f'[task]\nkind = "enhancement"\n[task.options]\n{options}\n'
    return parse_study(
        MINIMAL.replace('[task]\nlabels = ["clear", "nodule"]', task).replace('"cnn"', '"restorer"') + more
    )


def images(count: int = 3) -> Tensor:
    return 0.3 + 0.4 * torch.rand(count, 1, 32, 32, generator=Generator().manual_seed(0))


def test_a_known_error_has_its_ratio() -> None:
    """Off by 0.1 everywhere: mean square error 0.01, 20 dB; of the input, which is the image, nothing is off."""
    kind = Enhancement(Options(degrade="none"), 1)
    found = kind.measure(Adds(0.1), images(), torch.zeros(3), 1)
    np.testing.assert_allclose(found[:, :2], [[HIGHEST, 20.0]] * 3, atol=1e-3)
    np.testing.assert_allclose(found[:, 4:6], [[0, 0.01]] * 3, atol=1e-6)
    np.testing.assert_allclose(found[:, 6], 20 - HIGHEST, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], 1.0, atol=1e-6)
    assert (found[:, 3] < 1).all()


def test_a_network_that_does_nothing_gains_nothing() -> None:
    kind = Enhancement(Options(strength=0.2), 1)
    judged = kind.judge(kind.count(kind.measure(nn.Identity(), images(), torch.zeros(3), 1), np.zeros(3), np.arange(3)))
    before, after, gain = (judged.figure(name) for name in ("psnr_before", "psnr", "psnr_gain"))
    assert before is not None and after is not None and gain is not None
    assert judged.headline is after
    assert after.value == pytest.approx(before.value)
    assert gain.value == pytest.approx(0, abs=1e-3)


def test_noise_has_the_strength_asked_for() -> None:
    """Counting: a deviation of strength × √x; the readout's beside it."""
    flat = torch.full((1, 1, 200, 200), 0.5)
    noise = degraded(flat, Options(strength=0.1), Generator().manual_seed(1)) - flat
    assert float(noise.std()) == pytest.approx(0.1 * math.sqrt(0.5 + 0.25**2), rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=2e-3)


def test_detail_is_lost_and_the_rest_stays() -> None:
    stripes = (torch.arange(32) % 2).float().expand(1, 1, 32, 32).contiguous()
    found = degraded(stripes, Options(degrade="downsample", factor=2), Generator())
    torch.testing.assert_close(found, torch.full_like(found, 0.5))
    flat = torch.full((1, 1, 8, 16, 16), 0.25)
    torch.testing.assert_close(degraded(flat, Options(degrade="downsample", factor=2), Generator()), flat)


def test_training_draws_anew_and_evaluation_does_not() -> None:
    kind, generator = Enhancement(Options(), 1), Generator().manual_seed(0)
    first, goal = kind.example(images(), torch.zeros(3), generator)
    assert not torch.equal(first, kind.example(images(), torch.zeros(3), generator)[0])
    torch.testing.assert_close(goal, images())
    both = [kind.measure(nn.Identity(), images(), torch.zeros(3), 1) for _ in range(2)]
    np.testing.assert_array_equal(both[0], both[1])


@pytest.mark.parametrize("loss", ["l1", "ssim", "mixed"])
def test_a_perfect_image_loses_nothing_and_a_worse_one_more(loss: str) -> None:
    kind = kind_of(study_of(f'loss = "{loss}"'))
    losses = [kind.loss(images() + off, images(), ()) for off in (0.0, 0.05, 0.2)]
    torch.testing.assert_close(losses[0], torch.zeros(3), atol=1e-6, rtol=0)
    assert (losses[0] < losses[1]).all() and (losses[1] < losses[2]).all()


def test_a_network_that_returns_no_images_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"model\.name: expected a model that returns images \[1, 32, 32\]"):
        kind_of(study_of()).loss(torch.zeros(3, 2), images(), ())


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match=r"task\.options\.factor"):
        create(Options(degrade="downsample", factor=8), parse_study(MINIMAL.replace("[32, 32]", "[16, 16]")))
    with pytest.raises(InputError, match=r"evaluation\.views"):
        kind_of(study_of(more="[evaluation]\nviews = 2\n"))
