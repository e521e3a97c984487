import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from client.dicom.pixels.resample import fits, resample, rounded
from client.dicom.pixels.spacing import Spacing
from client.dicom.reasons import LeftOutError, Reason

MM = Spacing(1.0, 1.0, millimetres=True)


@given(st.integers(8, 40), st.integers(8, 40), st.integers(8, 40), st.integers(8, 40), st.floats(0.1, 10))
def test_any_image_is_within_the_grid(rows: int, columns: int, height: int, width: int, ratio: float) -> None:
    found = resample(np.ones((1, rows, columns), np.float32), (height, width), Spacing(ratio, 1.0))
    assert found.shape == (1, height, width)
    inside = found[0] > 0
    assert inside.any(axis=0).all() or inside.any(axis=1).all()  # one direction is filled
    assert np.allclose(found[0][inside], 1)


def test_the_right_size_is_not_resized() -> None:
    """And Pillow, asked all the same, would change nothing."""
    channel = np.random.default_rng(1).random((12, 16)).astype(np.float32)
    assert fits((12, 16), (12, 16), MM)
    direct = resample(channel[None], (12, 16), MM)[0]
    resized = np.asarray(Image.fromarray(channel).resize((16, 12), Image.Resampling.BILINEAR))
    assert direct.tobytes() == rounded(resized).tobytes()
    assert not fits((12, 16), (12, 16), Spacing(2.0, 1.0))


def test_values_are_rounded_and_stay_in_their_range() -> None:
    values = np.array([-1, 0, 0.5, 1, 2, 1 / 65535 * 0.6], dtype=np.float32)
    expected = np.array([0, 0, 32768, 65535, 65535, 1], dtype=np.float32) / np.float32(65535)
    assert rounded(values).tobytes() == expected.tobytes()
    assert values[0] == -1  # what was given is left alone


def test_a_wanted_spacing_crops_around_the_centre() -> None:
    channel = np.zeros((1, 32, 32), np.float32)
    channel[0, 12:20, 12:20] = 1
    assert resample(channel, (8, 8), MM, (1.0, 1.0)).min() == 1
    assert resample(channel, (16, 16), MM, (1.0, 1.0)).sum() == 64
    assert resample(channel, (8, 8), Spacing(0.5, 0.5, millimetres=True), (1.0, 1.0)).sum() == 16


def test_a_wanted_spacing_pads_around_the_centre() -> None:
    found = resample(np.ones((1, 8, 4), np.float32), (16, 8), MM, (1.0, 1.0))[0]
    assert found[4:12, 2:6].min() == 1
    assert found.sum() == 32


def test_each_axis_has_its_own_step() -> None:
    found = resample(np.ones((1, 8, 8), np.float32), (8, 8), Spacing(1.0, 0.5, millimetres=True), (2.0, 1.0))[0]
    assert found[2:6, 2:6].min() == 1
    assert found.sum() == 16


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 100), st.floats(0.01, 100))
def test_any_spacing_gives_the_grid(rows: int, columns: int, own: float, wanted: float) -> None:
    channel = np.ones((1, rows, columns), np.float32)
    found = resample(channel, (9, 8), Spacing(own, own, millimetres=True), (wanted, wanted))
    assert found.shape == (1, 9, 8)
    assert found.max() == 1


def test_an_image_without_millimetres_has_no_wanted_spacing() -> None:
    with pytest.raises(LeftOutError) as caught:
        resample(np.ones((1, 8, 8), np.float32), (8, 8), Spacing(), (1.0, 1.0))
    assert caught.value.reason is Reason.NO_GEOMETRY
