from dataclasses import replace

import numpy as np
import pytest

from shared.errors import OperatorError
from shared.tasks.froc import BINS, RATES, Found, judged, length_of

#: label, score, hit
HIGH, MIDDLE, LOW, NONE = (0.0, 0.9, 1.0), (0.0, 0.5, 0.0), (0.0, 0.2, 1.0), (-1.0, 0.0, 0.0)


def found(*images: list[tuple[float, float, float]], drawn: int) -> Found:
    """As good at the second overlap as at the first."""
    rows = np.array([[*each, *[NONE] * (3 - len(each))] for each in images])
    twice = np.concatenate([rows, rows[..., 2:]], axis=2)
    return Found.of(0, twice, np.array([drawn, *[0] * (len(images) - 1)], np.float64), 2)


def test_by_hand_at_every_rate() -> None:
    """Two images, four boxes. From the highest score on: a hit, a false alarm, a hit. Half an alarm per image is
    reached at a quarter of the boxes, and so is all that is more at half of them; up to it a line leads from (0, ¼)."""
    one = found([HIGH, MIDDLE], [LOW], drawn=4)
    alarms, hits = one.sensitivity()
    assert sorted(set(zip(alarms.tolist(), hits.tolist(), strict=True))) == [(0, 0), (0, 0.25), (0.5, 0.25), (0.5, 0.5)]
    assert [one.at(rate) for rate in RATES] == [0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert one.score == pytest.approx((2 * 0.25 + 5 * 0.5) / 7)


def test_between_two_scores_sensitivity_lies_on_a_line() -> None:
    """A bin with a hit and an alarm: from (0, 0) straight to (1, 1)."""
    one = found([(0.0, 0.5, 1.0), (0.0, 0.5, 0.0)], drawn=1)
    assert [one.at(rate) for rate in RATES] == [0.125, 0.25, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_average_precision_by_hand() -> None:
    """Precision 1 up to a quarter of the boxes, then 2/3 up to a half, then nothing."""
    assert found([HIGH, MIDDLE], [LOW], drawn=4).average_precision() == pytest.approx(0.25 + 0.25 * 2 / 3)
    assert found([HIGH, LOW], drawn=2).average_precision() == 1.0
    assert found([MIDDLE], drawn=2).average_precision() == 0.0


def test_without_boxes_there_is_no_figure_but_alarms_count() -> None:
    none = found([MIDDLE], [MIDDLE], drawn=0)
    assert np.isnan(none.score)
    assert np.isnan(none.average_precision())
    assert none.sensitivity()[0][-1] == 1.0


def test_counts_add_up_over_hospitals() -> None:
    first, second = found([HIGH, MIDDLE], drawn=3), found([LOW], drawn=1)
    total = [a + b for a, b in zip(first.to_integers(), second.to_integers(), strict=True)]
    both = Found.from_integers(total)
    assert len(total) == length_of(2)
    assert (both.images, both.drawn) == (2, 4)
    assert both.score == found([HIGH, MIDDLE], [LOW], drawn=4).score


def test_figures_are_means_over_labels_that_somebody_drew() -> None:
    perfect, half, never = found([HIGH], drawn=1), found([HIGH], drawn=2), found([MIDDLE], drawn=0)
    whole = judged("abc", [perfect, half, never], (0.3, 0.5))
    assert whole.headline.name == "froc_score"
    assert whole.headline.value == 0.75
    assert [figure.value for figure in whole.figures if figure.name == "average_precision"] == [1.0, 0.5, None]
    precision = whole.figure("mean_average_precision")
    assert precision is not None
    assert precision.value == 0.75
    assert whole.tables[0].rows[2] == ("c", 0, *[None] * 7)
    assert {curve.name for curve in whole.curves} == {"a", "b"}


@pytest.mark.parametrize(
    "changes", [{"images": 0}, {"drawn": 0}, {"drawn": -1}, {"found": np.zeros(BINS, np.int64)}, {"images": 2**60}]
)
def test_sums_that_contradict_each_other_are_refused(changes: dict[str, int]) -> None:
    bad = replace(found([HIGH, LOW], drawn=2), **changes)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="unmasked sum"):
        Found.from_integers(bad.to_integers())
