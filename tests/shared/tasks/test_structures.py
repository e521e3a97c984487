from dataclasses import replace

import numpy as np
import pytest

from shared.errors import OperatorError
from shared.tasks.structures import BINS, INTEGERS, SHARE, Structure, judged

NAN = float("nan")
#: pixels shared, found, drawn; distance; surface Dice
EXACT = (4, 4, 4, 0.0, 1.0)
HALF = (2, 4, 4, 3.0, 0.5)
MISSED = (0, 0, 4, NAN, 0.0)
ALARM = (0, 5, 0, NAN, 0.0)
NOTHING = (0, 0, 0, NAN, 0.0)


def structure(*rows: tuple[float, ...], patients: list[int] | None = None) -> Structure:
    return Structure.of(np.array(rows, np.float64).reshape(-1, 5), np.array(patients or range(len(rows)), np.int64))


def test_a_mean_is_of_images_that_have_the_structure_and_a_miss_is_zero() -> None:
    found = structure(EXACT, HALF, MISSED, ALARM, NOTHING)
    assert (found.with_it, found.without, found.missed, found.alarms, found.both) == (3, 2, 1, 1, 2)
    assert found.mean_dice == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)
    assert found.mean_surface == pytest.approx(0.5, abs=1e-6)
    assert found.mean_distance == 1.5


def test_pooled_dice_counts_pixels_and_alarms() -> None:
    assert structure(EXACT, HALF, MISSED, ALARM).pooled_dice == 2 * 6 / (13 + 12)


def test_counts_add_up_over_hospitals() -> None:
    first, second = structure(EXACT, ALARM), structure(HALF, MISSED)
    total = [a + b for a, b in zip(first.to_integers(), second.to_integers(), strict=True)]
    assert Structure.from_integers(total) == structure(EXACT, ALARM, HALF, MISSED)
    assert len(total) == INTEGERS


def test_the_deviation_is_that_of_patients() -> None:
    """Two patients with Dice 1 and 0.5: mean 0.75, deviation of the mean 0.25, each image once or all three times."""
    assert structure(EXACT, HALF).deviation == pytest.approx(0.25, abs=1e-4)
    many = structure(*[EXACT] * 3, *[HALF] * 3, patients=[0, 0, 0, 1, 1, 1])
    assert many.deviation == pytest.approx(0.25, abs=1e-4)
    assert structure(*[EXACT] * 3, *[HALF] * 3).deviation < 0.12
    assert np.isnan(structure(EXACT, HALF, patients=[0, 0]).deviation)


def test_quantiles_lie_within_a_bin_of_the_truth() -> None:
    rows = [(share, 100.0, 100.0, 1.0, 1.0) for share in range(0, 100)]  # Dice 0.00, 0.01 … 0.99
    found = structure(*rows)
    assert found.quantile(0.1) == pytest.approx(0.1, abs=1 / BINS)
    assert found.quantile(0.5) == pytest.approx(0.5, abs=1 / BINS)


def test_the_headline_is_the_mean_over_structures_that_somebody_has() -> None:
    both = judged([structure(EXACT, EXACT), structure(HALF, HALF), structure(ALARM, NOTHING)], "abc", "mm", 2.0)
    assert both.headline.name == "dice"
    assert both.headline.value == pytest.approx(0.75, abs=1e-6)
    assert both.images == 2
    assert [figure.value for figure in both.figures if figure.name == "hausdorff_95"] == [0.0, 3.0, None]
    assert {figure.unit for figure in both.figures if figure.name == "hausdorff_95"} == {"mm"}
    assert both.tables[0].rows[2] == ("c", 0, 0, 2, 1, 0, 5)
    assert [curve.name for curve in both.curves] == ["a", "b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"missed": 2},
        {"alarms": 9},
        {"shared": 99},
        {"dice": 5 * SHARE},
        {"patients": 4},
        {"histogram": (0,) * BINS},
        {"drawn": -1},
        {"sizes": 2**60},
    ],
)
def test_sums_that_contradict_each_other_are_refused(changes: dict[str, int]) -> None:
    bad = replace(structure(EXACT, HALF, ALARM), **changes)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="unmasked sum"):
        Structure.from_integers(bad.to_integers())
