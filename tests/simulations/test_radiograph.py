from dataclasses import replace

import numpy as np
import pytest

from simulations.radiograph import Nodule, draw, draw_anatomy, draw_nodules

SIZE = (64, 64)


def test_same_generator_same_image() -> None:
    first, second = (
        draw(rng, draw_anatomy(rng, "M", 70), draw_nodules(rng, draw_anatomy(rng), 2), SIZE)
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [(64, 64), (72, 64), (48, 80)])
def test_shape_type_and_range(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    image = draw(rng, draw_anatomy(rng), (), size)
    assert image.shape == size
    assert image.dtype == np.float32
    assert 0 <= image.min() < 0.15
    assert 0.5 < image.max() <= 1


def test_lungs_are_darker_than_what_surrounds_them() -> None:
    rng = np.random.default_rng(2)
    anatomy = draw_anatomy(rng)
    image = np.mean([draw(rng, anatomy, (), SIZE) for _ in range(8)], axis=0)
    lung = image[20:40, 14:22].mean()
    assert lung < 0.7 * image[20:40, 30:34].mean()
    assert lung < 0.8 * image[56:62, 14:22].mean()


def test_nodules_lie_in_the_lungs_and_apart() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        anatomy = draw_anatomy(rng, "F", 50)
        nodules = draw_nodules(rng, anatomy, 3)
        assert len(nodules) == 3
        for nodule in nodules:
            nearest = min(abs(nodule.x - centre) for centre in anatomy.lung_x)
            assert nearest < anatomy.lung_width
            assert 0.042 <= nodule.radius / 2 <= 0.070
        x, y, other = nodules[0].x, nodules[0].y, nodules[1]
        assert np.hypot(x - other.x, y - other.y) >= nodules[0].radius + other.radius


def test_a_nodule_brightens_its_place_and_nothing_far_from_it() -> None:
    anatomy = draw_anatomy(np.random.default_rng(5))
    nodule = Nodule(x=-0.43, y=0.0, radius=0.12, contrast=0.3, softness=0.2, lobes=(0.0, 0.0))
    without, with_it = (draw(np.random.default_rng(6), anatomy, found, SIZE) for found in ((), (nodule,)))
    difference = with_it - without
    row, column = np.unravel_index(difference.argmax(), SIZE)
    assert abs(row - 32) <= 4
    assert abs(column - 18) <= 4
    assert difference.max() > 0.1
    assert np.abs(difference[:, 40:]).max() < 1e-3


def test_poses_differ_but_the_patient_stays() -> None:
    rng = np.random.default_rng(7)
    anatomy, other = draw_anatomy(rng), replace(draw_anatomy(rng, "M", 80), body_density=0.4)
    first, second, stranger = (draw(rng, who, (), SIZE) for who in (anatomy, anatomy, other))
    assert not np.array_equal(first, second)
    assert np.abs(first - second).mean() < np.abs(first - stranger).mean()
