"""The joint vector stays within the clip, whatever the gradient; the clip follows the quantile."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clipping import BIT, RANGE, bit_entry, gradient_clip, is_near, moved, share_within


@given(st.floats(1e-6, 1e6), st.floats(0, 1e9))
def test_one_patients_vector_is_never_longer_than_the_clip(clip: float, norm: float) -> None:
    gradient = min(norm, gradient_clip(clip))
    for within in (0, 1):
        assert math.hypot(gradient, bit_entry(clip, within=within, drawn=1)) <= clip * (1 + 1e-12)


def test_a_patient_more_moves_the_last_entry_by_half_the_bit() -> None:
    for within in (0, 1):
        more = bit_entry(2.0, within=5 + within, drawn=11) - bit_entry(2.0, within=5, drawn=10)
        assert abs(more) == pytest.approx(BIT * 2.0 / 2)


def test_the_share_is_read_back() -> None:
    assert share_within(bit_entry(3.0, within=30, drawn=40), 3.0, batch=40) == pytest.approx(0.75)
    assert share_within(1e9, 1.0, batch=10) == 1.0 and share_within(-1e9, 1.0, batch=10) == 0.0


def test_the_clip_finds_the_quantile() -> None:
    """Norms spread evenly over (0, 1): 30 % of them are within the gradient's part of 0.3 ÷ √(1 − κ²/4)."""
    norms = np.linspace(0, 1, 1001)
    clip = 10.0
    for _ in range(400):
        share = float((norms <= gradient_clip(clip)).mean())
        clip = moved(clip, share, quantile=0.3)
    assert gradient_clip(clip) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.inf, math.nan, 1e300, 2.1 * RANGE])
def test_no_clip_is_near_that_cannot_have_come_of_the_studys(clip: float) -> None:
    assert is_near(2.0, 2.0) and not is_near(clip, 2.0)
