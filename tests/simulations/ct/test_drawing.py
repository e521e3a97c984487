"""What is drawn is what is said to be drawn."""

import numpy as np
import pytest

from simulations.ct.drawing import AIR, Values, fluid, hounsfield, liver
from simulations.ct.trunk import Trunk, draw_trunk

#: Every 4 mm, from the feet to the head, front to back, right to left.
ALONG = np.arange(-180, 180, 4, dtype=np.float32)
X, Y, Z = ALONG[None, None, :], ALONG[None, :, None], np.arange(-120, 120, 4, dtype=np.float32)[:, None, None]


def trunk(seed: int = 2, *, effusion: bool = False) -> Trunk:
    return draw_trunk(np.random.default_rng(seed), "M", 60, effusion=effusion)


def drawn(one: Trunk, contrast_hu: float = 0.0) -> Values:
    return hounsfield(one, X, Y, Z, contrast_hu=contrast_hu)


def test_shape_and_type_and_air_around() -> None:
    values = drawn(trunk())
    assert values.shape == (60, 90, 90)
    assert values.dtype == np.float32
    assert (values[:, :, :3] == AIR).all()
    assert values.max() < 300


@pytest.mark.parametrize("seed", range(5))
def test_liver_and_fluid_are_where_the_values_are_theirs(seed: int) -> None:
    one = trunk(seed, effusion=True)
    values, organ, water = drawn(one, 30.0), liver(one, X, Y, Z), fluid(one, X, Y, Z)
    assert np.array_equal(values == np.float32(one.liver_hu + 30.0), organ)
    assert np.array_equal(values == np.float32(one.fluid_hu), water)
    assert not (organ & water).any()
    assert 500 < organ.sum() * 4**3 / 1000 < 2500  # ml


def test_the_liver_lies_on_the_patient_s_right_and_below_the_lungs() -> None:
    one = trunk()
    z, _, x = np.argwhere(liver(one, X, Y, Z)).mean(axis=0)
    assert ALONG[int(x)] < -20
    assert Z[int(z), 0, 0] < -30
    lungs = drawn(one) < -700
    middle = lungs & (np.abs(X) < 120) & (np.abs(Y) < 80) & (Z < -60)
    assert middle.sum() < 0.2 * (lungs & (np.abs(X) < 120) & (np.abs(Y) < 80) & (Z > 20)).sum()


def test_an_effusion_takes_the_back_of_the_lung_on_its_side() -> None:
    ill = next(one for seed in range(20) if (one := trunk(seed, effusion=True)).effusions[1] == 0)
    water = np.argwhere(fluid(ill, X, Y, Z))
    assert (ALONG[water[:, 2]] < 0).all()
    assert (ALONG[water[:, 1]] > 20).all()
    assert not fluid(trunk(), X, Y, Z).any()


def test_contrast_medium_brightens_liver_and_blood_and_no_fat() -> None:
    one = trunk()
    native, enhanced = drawn(one), drawn(one, 50.0)
    brighter = enhanced - native
    assert brighter[liver(one, X, Y, Z)] == pytest.approx(50)
    assert brighter.max() == pytest.approx(120)  # kidneys
    assert (brighter[native == -95] == 0).all()
