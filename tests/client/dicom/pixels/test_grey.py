from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.pixels import grey as grey_module
from client.dicom.pixels.grey import Grey, gather, grey_plane, indexed, joint_percentiles
from client.dicom.pixels.lut import Lut
from client.dicom.pixels.spacing import Spacing
from client.dicom.pixels.voi import Between, Linear, Sigmoid, VoiLut, Window
from client.dicom.reasons import LeftOutError, Reason
from shared.study import Input

Make = Callable[..., Dataset]

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4")


def arrays(data: st.DataObject) -> NDArray[Any]:
    dtype = np.dtype(data.draw(st.sampled_from(TYPES)))
    limits: np.iinfo[Any] = np.iinfo(dtype)
    low, high = sorted(data.draw(st.tuples(st.integers(limits.min, limits.max), st.integers(limits.min, limits.max))))
    numbers = data.draw(st.lists(st.integers(low, high), min_size=6, max_size=6))
    return np.array(numbers, dtype=dtype).reshape(2, 3)


@given(st.data())
def test_an_index_and_levels_are_the_values(data: st.DataObject) -> None:
    stored = arrays(data)
    index, levels = indexed(stored)
    assert np.array_equal(levels[index], stored)
    assert (np.diff(levels) > 0).all()
    assert len(levels) <= 1 << 16


def grey_of(stored: NDArray[Any], own: Window | None, *, inverted: bool, padding: int | None) -> Grey:
    index, levels = indexed(stored)
    values = levels.astype(np.float64) * 1.7 - 3
    mask = levels == (10**12 if padding is None else padding)
    return Grey(index, levels, values, mask, own, inverted, Spacing())


WINDOWS = st.one_of(
    st.builds(Window, st.builds(Linear, st.floats(-5000, 5000), st.floats(0.5, 9000))),
    st.builds(Window, st.builds(Sigmoid, st.floats(-5000, 5000), st.floats(0.5, 9000))),
    st.just(Window(VoiLut(Lut(-3, 255, np.arange(256.0))))),
)


@settings(max_examples=300)
@given(st.data(), WINDOWS, st.booleans())
def test_the_table_gives_what_every_pixel_gives(data: st.DataObject, window: Window, inverted: bool) -> None:
    stored = arrays(data)
    padding = int(data.draw(st.sampled_from(stored.ravel().tolist())))
    grey = grey_of(stored, None, inverted=inverted, padding=padding)
    direct = window(stored.astype(np.float64) * 1.7 - 3)
    direct = 1 - direct if inverted else direct
    direct[stored == padding] = 0
    assert grey.through(window).tobytes() == direct.astype(np.float32).tobytes()


@given(st.data())
def test_percentiles_from_counts_are_those_of_the_pixels(data: st.DataObject) -> None:
    stored = arrays(data)
    grey = grey_of(stored, None, inverted=False, padding=None)
    low, high = np.percentile(stored.astype(np.float64) * 1.7 - 3, (1, 99))
    assert joint_percentiles((grey,)) == Window(Between(float(low), float(high)))


def test_percentiles_of_several_planes_together() -> None:
    planes = [grey_of(np.full((1, 100), value, np.uint8), None, inverted=False, padding=None) for value in (0, 10, 20)]
    assert joint_percentiles(planes) == Window(Between(-3.0, 20 * 1.7 - 3))
    assert joint_percentiles([grey_of(np.zeros((1, 1), np.uint8), None, inverted=False, padding=0)]) == Window(
        Between(0.0, 0.0)
    )


def test_the_study_decides_which_window() -> None:
    own = Window(Linear(5, 9))
    grey = grey_of(np.zeros((1, 1), np.uint8), own, inverted=False, padding=None)

    def asked(window: Any) -> Window | None:
        return grey.window(Input(modalities=("CT",), size=(8, 8), window=window))

    assert (asked("file"), asked("percentile"), asked((1.0, 2.0))) == (own, None, Window(Linear(1.0, 2.0)))


def test_a_part_is_a_plane_of_its_own() -> None:
    grey = grey_of(np.arange(16, dtype=np.uint8).reshape(4, 4), None, inverted=False, padding=None)
    part = grey.cut(2, 1, 2, 3)
    assert part.stored.tolist() == [[9, 10, 11], [13, 14, 15]]
    assert part.shape == (2, 3)
    assert (part.counts.sum(), grey.counts.sum()) == (6, 16)
    for outside in ((-1, 0, 2, 2), (3, 0, 2, 2), (0, 3, 2, 2), (0, 0, 0, 1)):
        with pytest.raises(LeftOutError):
            grey.cut(*outside)


def test_a_window_of_stored_values_is_taken_without_a_detour() -> None:
    """(v × 0.1 + 0.3 - 0.3) / 0.1 is not v: on the frame's own values the window sees the stored ones."""
    index, levels = indexed(np.arange(200, dtype=np.uint8).reshape(1, 200))
    own = Window(Linear(100, 77), rescale=(0.1, 0.3))
    grey = Grey(index, levels, levels.astype(np.float64) * 0.1 + 0.3, levels < 0, own, False, Spacing())
    direct = Linear(100, 77)(np.arange(200, dtype=np.float64)).astype(np.float32)
    assert grey.through(own).tobytes() == direct.tobytes()
    assert grey.through(Window(Linear(100, 77), rescale=(0.1, 0.3))).tobytes() == direct.tobytes()


def test_look_up_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grey_module, "PIECE", 4)
    table, index = np.arange(9, dtype=np.float32), np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert np.array_equal(gather(table, index), table[index])


def test_colours_are_no_grey_plane(make: Make) -> None:
    with pytest.raises(LeftOutError) as caught:
        grey_plane(make(np.zeros((2, 2, 3), np.uint8)), 0)
    assert caught.value.reason is Reason.UNSUPPORTED_PIXELS


@pytest.mark.parametrize(("centre", "width"), [("40,5", "400"), ("abc", "400"), ("inf", "1")])
def test_a_damaged_window_matters_to_studies_that_go_by_it_only(make: Make, centre: str, width: str) -> None:
    dataset = make()
    for keyword, value in (("WindowCenter", centre), ("WindowWidth", width)):
        dataset.add_new(keyword, "LO", value)
    grey = grey_plane(dataset, 0)
    for window in ((2048.0, 4096.0), "percentile"):
        assert grey.shown(Input(modalities=("DX",), size=(8, 8), window=window)).max() > 0
    with pytest.raises(LeftOutError) as caught:
        grey.shown(Input(modalities=("DX",), size=(8, 8), window="file"))
    assert caught.value.reason is Reason.DECODE_FAILED


def test_a_damaged_spacing_is_none(make: Make) -> None:
    dataset = make()
    dataset.add_new("PixelSpacing", "LO", ["0,8", "0,8"])
    assert grey_plane(dataset, 0).spacing == Spacing()
    dataset.ImagerPixelSpacing = [0.2, 0.1]
    assert grey_plane(dataset, 0).spacing == Spacing(0.2, 0.1, millimetres=True)
