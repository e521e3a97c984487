"""The pieces of benchmarks/inversion.py: what is attacked is real, and the attack knows no more than it may."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from client.images import Images, Split
from shared.models.scattering import Scattering
from shared.network import network_of
from shared.study import Study, read_study

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package

from inversion_pictures import Column, assigned, psnr, ssim  # noqa: E402
from inversion_prey import plain_step, sent, update_of  # noqa: E402
from inversion_search import Effort, Gradients, search, statistics, statistics_of  # noqa: E402


@pytest.fixture(scope="module")
def private_study() -> Study:
    return read_study(ROOT / "docs" / "studies" / "first.toml")


def one_image(label: int, side: int = 32) -> Images:
    pixels = np.random.default_rng(label).random((1, 1, side, side), dtype=np.float32)
    zero = np.zeros(1, np.int64)
    return Images(pixels, np.array([label]), zero, (b"one",), np.array([int(Split.TRAIN)]))


def test_psnr_and_ssim_of_known_pictures() -> None:
    truth = np.zeros((16, 16), np.float32)
    assert psnr(np.full_like(truth, 0.1), truth) == pytest.approx(20)
    textured = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    assert ssim(textured, textured) == pytest.approx(1)
    assert ssim(1 - textured, textured) < 0


def test_pictures_of_a_sum_go_to_whom_they_fit() -> None:
    truths = [np.full((2, 2), value, np.float32) for value in (0.1, 0.5, 0.9)]
    found = assigned([truths[2], truths[0], truths[1]], truths)
    assert all(np.array_equal(a, b) for a, b in zip(found, truths, strict=True))
    assert Column("", found, truths).figures()[0][0] == pytest.approx(120)


def test_the_update_tells_its_label_and_only_its_own_image_fits_it(private_study: Study) -> None:
    study = plain_step(private_study)
    gradients = Gradients(network_of(study).train())
    rows = [one_image(label) for label in (0, 1)]
    updates = [update_of(study, row) for row in rows]
    assert [gradients.label(update) for update in updates] == [0, 1]
    distance = gradients.distance(updates, [[0], [1]], copies=2)
    first, second = (torch.from_numpy(row.pixels) for row in rows)
    found = distance(torch.stack([first, second, second, first]))  # copy by copy
    assert found[:2].tolist() == pytest.approx([0, 0], abs=1e-5)
    assert bool((found[2:] > 1e-3).all())


def test_what_is_sent_is_masked_but_for_the_sum(private_study: Study) -> None:
    rng = np.random.default_rng(1)
    updates = [rng.normal(0, 0.01, 2000).astype(np.float32) for _ in range(4)]
    seen = sent(private_study, updates)
    step = 10 / (2**31 // 4) * private_study.federation.max_images
    for plain, update in zip(seen.plain, updates, strict=True):
        np.testing.assert_allclose(plain, update, atol=1.01 * step)
    np.testing.assert_allclose(seen.total, np.mean(updates, axis=0), atol=1.01 * step)
    for masked, update in zip(seen.masked, updates, strict=True):
        assert np.abs(masked).mean() > 100
        assert abs(np.corrcoef(masked, update)[0, 1]) < 0.15
    for noised, update in zip(seen.private, updates, strict=True):
        assert abs(np.corrcoef(noised, update)[0, 1]) < 0.15


def test_the_search_comes_closer_and_repeats() -> None:
    target = torch.linspace(0, 1, 64).reshape(1, 8, 8)

    def distance(images: torch.Tensor) -> torch.Tensor:
        return (images[:, 0] - target).square().mean(dim=(1, 2, 3))

    effort = Effort(copies=2, generations=2, steps=30, smoothness=0.0)
    found = search(distance, 1, (1, 8, 8), effort)
    assert float(distance(found[:, :, None])[0]) < 0.01
    assert torch.equal(found, search(distance, 1, (1, 8, 8), effort))


def test_the_demo_model_tells_the_statistics_of_its_image() -> None:
    study = plain_step(read_study(ROOT / "simulations" / "demo.toml"))
    row = one_image(1, side=64)
    network = network_of(study)
    assert isinstance(network, Scattering)
    with torch.no_grad():
        expected = statistics(network, torch.from_numpy(row.pixels))[0]
    told = statistics_of(study, update_of(study, row))
    torch.testing.assert_close(told, expected, atol=1e-5, rtol=1e-4)
