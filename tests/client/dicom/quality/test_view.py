"""The numbers of one image, worked out by hand."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from client.dicom.quality.view import POINTS, View, measure
from shared.wire import pack, unpack

Values = NDArray[np.float64]


def view(
    values: Values, shown: NDArray[Any] | None = None, padding: NDArray[Any] | None = None, kind: str = "CT"
) -> View:
    """Of `values`, shown as they are unless said otherwise."""
    return measure(
        values,
        np.zeros(values.shape, np.bool_) if padding is None else padding.astype(np.bool_),
        (values if shown is None else shown).astype(np.float32),
        kind,
    )


def framed(width: int, border: float, inside: float = 0.5) -> Values:
    """20 × 20, `width` rows and columns of `border` around a chequered `inside`."""
    grey = np.full((20, 20), border)
    middle = np.indices((20 - 2 * width, 20 - 2 * width)).sum(axis=0) % 2 * 0.2 + inside - 0.1
    grey[width : 20 - width, width : 20 - width] = middle
    return grey


def test_points_are_the_quantiles_of_what_is_not_padding() -> None:
    values = np.arange(4.0 * POINTS).reshape(4, POINTS)
    padding = np.zeros(values.shape)
    values[3], padding[3] = -1e6, 1
    found = view(values, np.full(values.shape, 0.5), padding)
    assert len(found.points) == POINTS
    assert found.points[0] == pytest.approx(1, abs=0.5)
    assert found.points[-1] == pytest.approx(3 * POINTS - 2, abs=0.5)
    assert list(found.points) == sorted(found.points)


def test_an_image_of_padding_only_has_no_points() -> None:
    found = view(np.zeros((4, 4)), padding=np.ones((4, 4)))
    assert (found.points, found.constant, found.saturated, found.clipped) == ((), True, 0.0, 0.0)


@pytest.mark.parametrize("width", [0, 1, 5])
def test_borders_are_measured(width: int) -> None:
    share = 1 - (20 - 2 * width) ** 2 / 400
    black, white = view(framed(width, 0.0)), view(framed(width, 1.0))
    assert [black.black_border, black.white_border] == pytest.approx([share, 0])
    assert [white.black_border, white.white_border] == pytest.approx([0, share])


def test_all_black_is_border() -> None:
    assert view(np.zeros((8, 8))).black_border == 1


def test_one_pixel_has_a_view() -> None:
    found = view(np.array([[0.5]]))
    assert (found.constant, found.brightness, found.corners, found.text) == (True, 0.5, 0.5, False)


def test_brightness_of_all_and_of_the_corners() -> None:
    grey = np.zeros((40, 60))
    grey[:2, :2] = grey[-2:, -2:] = 1
    found = view(grey)
    assert found.corners == 0.5
    assert found.brightness == pytest.approx(8 / 2400)
    assert found.contrast == pytest.approx(np.sqrt(8 / 2400 * (1 - 8 / 2400)))


def test_saturated_is_the_share_at_the_top() -> None:
    values = np.array([[0.0, 1.0], [3.0, 3.0]])
    assert view(values, values / 3).saturated == 0.5
    assert view(np.ones((2, 2))).saturated == 0, "one value is constant, not saturated"


def test_clipped_is_what_the_window_takes_away() -> None:
    """Of 0, 1, 2, 3 shown black, black, white, white: 1 and 2 are lost; the ends had to be black and white."""
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert view(values, np.array([[0, 0], [1, 1]])).clipped == 0.5
    assert view(values, values / 3).clipped == 0


@pytest.mark.parametrize(("kind", "expected"), [("DX", True), ("MG", True), ("CT", False), ("XC", False)])
def test_a_bright_surround_is_negative_in_projections_only(kind: str, expected: bool) -> None:
    assert view(framed(3, 1.0, 0.3), kind=kind).inverted is expected
    assert not view(framed(3, 0.0, 0.7), kind=kind).inverted


def test_a_digest_names_values_and_shape() -> None:
    values = np.arange(12.0).reshape(3, 4)
    same = view(values.copy(), np.zeros((3, 4)))
    assert view(values).digest == same.digest
    assert view(values.reshape(4, 3)).digest != same.digest
    values[2, 3] += 1
    assert view(values).digest != same.digest


def test_writing_is_seen() -> None:
    picture = Image.new("L", (200, 100))
    ImageDraw.Draw(picture).text((4, 4), "MUSTER 4711", fill=255, font=ImageFont.load_default(14))
    found = view(np.asarray(picture) / 255)
    assert found.text
    assert found.markers > 3


def test_in_a_large_image_large_writing_is_seen() -> None:
    """Three thousand columns: halved before it is read."""
    picture = Image.new("L", (3000, 400))
    ImageDraw.Draw(picture).text((10, 10), "MUSTER 4711", fill=255, font=ImageFont.load_default(40))
    assert view(np.asarray(picture) / 255).text


def test_a_view_crosses_processes_as_it_is() -> None:
    found = view(framed(2, 0.0))
    assert unpack(View, pack(found)) == found
