import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from client.dicom.pixels.voi import (
    Between,
    Linear,
    LinearExact,
    Sigmoid,
    Voi,
    VoiLut,
    Window,
    file_voi,
    percentiles,
)


def shown(voi: Voi, *values: float) -> list[float]:
    return [round(float(value), 4) for value in voi(np.array(values, dtype=np.float64))]


def test_the_three_functions() -> None:
    # PS3.3 C.11.2.1.2.1: c = 2048, w = 4096 shows 0 to 4095
    assert shown(Linear(2048, 4096), -1, 0, 819, 4095, 9999) == [0, 0, 0.2, 1, 1]
    assert shown(Linear(10, 1), 9, 9.5, 9.6) == [0, 0, 1]
    assert shown(LinearExact(5, 10), 0, 5, 10) == [0, 0.5, 1]
    assert shown(Sigmoid(100, 100), 0, 100, 1e9, -1e9) == [0.018, 0.5, 1, 0]


def test_between() -> None:
    assert shown(Between(10, 20), 5, 15, 25) == [0, 0.5, 1]
    assert shown(Between(10, 10), 5, 10, 15) == [0, 0, 0]


def test_a_window_of_stored_values_follows_them_to_other_slices() -> None:
    window = Window(LinearExact(50, 100), rescale=(2.0, -10.0))
    assert shown(window, -10, 90, 190) == [0, 0.5, 1]  # stored 0, 50, 100 there; here what they stand for


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_the_first_of_several_windows_and_what_is_none() -> None:
    assert file_voi(item(WindowCenter=[5, 9], WindowWidth=[7, 1]), 0, signed=False) == Linear(5, 7)
    assert file_voi(item(WindowCenter=5, WindowWidth=0), 0, signed=False) is None
    assert file_voi(item(WindowCenter="", WindowWidth=""), 0, signed=False) is None
    assert file_voi(item(), 0, signed=False) is None
    assert type(file_voi(item(WindowCenter=5, WindowWidth=7, VOILUTFunction="SIGMOID"), 0, signed=False)) is Sigmoid
    assert type(file_voi(item(WindowCenter=5, WindowWidth=7, VOILUTFunction="ODD"), 0, signed=False)) is Linear


def test_a_table_goes_before_a_window() -> None:
    table = item()
    table.add_new("LUTDescriptor", "US", [2, 0, 8])
    table.add_new("LUTData", "US", [0, 255])
    voi = file_voi(item(VOILUTSequence=[table], WindowCenter=5, WindowWidth=7), 0, signed=False)
    assert isinstance(voi, VoiLut)
    assert shown(voi, 0, 1) == [0, 1]


def test_each_frame_has_its_own_window() -> None:
    frames = [item(FrameVOILUTSequence=[item(WindowCenter=n, WindowWidth=10)]) for n in (1, 2)]
    dataset = item(PerFrameFunctionalGroupsSequence=[*frames, item()], WindowCenter=9, WindowWidth=10)
    dataset.SharedFunctionalGroupsSequence = [item(FrameVOILUTSequence=[item(WindowCenter=3, WindowWidth=10)])]
    assert [file_voi(dataset, n, signed=False) for n in (0, 1, 2)] == [Linear(1, 10), Linear(2, 10), Linear(3, 10)]
    del dataset.SharedFunctionalGroupsSequence
    assert file_voi(dataset, 2, signed=False) == Linear(9, 10)


@pytest.mark.parametrize("centre", ["nan", "inf"])
def test_a_damaged_window_is_no_window(centre: str) -> None:
    dataset = item(WindowWidth=7)
    dataset.add_new("WindowCenter", "LO", centre)
    with pytest.raises(ValueError, match="finite"):
        file_voi(dataset, 0, signed=False)


@given(
    st.lists(st.tuples(st.integers(-1000, 1000), st.integers(0, 50)), min_size=1, max_size=40),
    st.floats(0.1, 30),
)
def test_percentiles_are_numpys(levels: list[tuple[int, int]], slope: float) -> None:
    values = np.array([value * slope for value, _ in levels])
    counts = np.array([count for _, count in levels], dtype=np.int64)
    sample = np.repeat(values, counts)
    found = percentiles(values, counts, (1, 25, 50, 99, 100))
    if not sample.size:
        assert found == ()
    else:
        assert found == tuple(float(value) for value in np.percentile(sample, (1, 25, 50, 99, 100)))
