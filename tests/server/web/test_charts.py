import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.web.charts import HEIGHT, WIDTH, chart


def test_a_rising_line_rises_on_the_page() -> None:
    drawn = chart("AUC", [(1, 0.6), (2, None), (3, 0.8)])
    assert drawn is not None
    (x1, y1), (x3, y3) = drawn.dots
    assert (x1, x3) == (44.0, 410.0) and y3 < y1
    assert drawn.line == f"44.0,{y1} 410.0,{y3}"
    assert drawn.words == "0.600 in round 1, 0.800 in round 3; highest 0.800 in round 3, lowest 0.600 in round 1."
    assert [tick.text for tick in drawn.up] == ["0.6", "0.65", "0.7", "0.75", "0.8"]
    assert [tick.text for tick in drawn.across] == ["1", "2", "3"]


def test_one_round_is_a_dot_in_the_middle() -> None:
    drawn = chart("AUC", [(7, 0.5)])
    assert drawn is not None and len(drawn.dots) == 1
    assert drawn.words == "0.500 in round 7." and [tick.text for tick in drawn.across] == ["7"]


@pytest.mark.parametrize("points", [[], [(1, None)], [(1, math.nan)], [(1, math.inf)], [(1, 1e300)]])
def test_nothing_to_draw_is_no_chart(points: list[tuple[int, float | None]]) -> None:
    assert chart("AUC", points) is None


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=30))
def test_whatever_a_hospital_reports_stays_inside_the_frame(values: list[float | None]) -> None:
    drawn = chart("ε", list(enumerate(values, 1)))
    if drawn is None:
        return
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in drawn.dots)
    assert 2 <= len(drawn.up) <= 7
    assert all(a.at > b.at for a, b in pairwise(drawn.up))
