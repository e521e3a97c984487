import numpy as np
import pytest

from simulations.ct.trunk import draw_trunk


def test_same_generator_same_patient() -> None:
    first, again, other = (draw_trunk(np.random.default_rng(seed), "M", 70, effusion=True) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_whoever_has_an_effusion_has_it_on_one_side_or_both() -> None:
    rng = np.random.default_rng(1)
    ill = [draw_trunk(rng, effusion=True).effusions for _ in range(60)]
    assert {(right > 0, left > 0) for right, left in ill} == {(True, False), (False, True), (True, True)}
    assert min(max(depths) for depths in ill) >= 22
    assert draw_trunk(rng).effusions == (0.0, 0.0)


def test_men_are_larger_and_old_hearts_too() -> None:
    def mean(sex: str, age: int) -> tuple[float, float]:
        trunks = [draw_trunk(np.random.default_rng(seed), "F" if sex == "F" else "M", age) for seed in range(40)]
        return float(np.mean([one.body[0] for one in trunks])), float(np.mean([one.heart.radii[0] for one in trunks]))

    assert mean("M", 60)[0] > mean("F", 60)[0] + 5
    assert mean("F", 85)[1] == pytest.approx(mean("F", 40)[1] + 8, abs=1.5)
