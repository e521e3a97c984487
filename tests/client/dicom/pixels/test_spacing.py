from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from client.dicom.pixels.spacing import Spacing, spacing_of

Make = Callable[..., Dataset]


def test_most_trustworthy_first(make: Make) -> None:
    dataset = make(PixelAspectRatio=[2, 1])
    assert spacing_of(dataset, 0) == Spacing(2, 1, millimetres=False)
    dataset.NominalScannedPixelSpacing = [3, 4]
    assert spacing_of(dataset, 0) == Spacing(3, 4, millimetres=True)
    dataset.ImagerPixelSpacing = [5, 6]
    assert spacing_of(dataset, 0) == Spacing(5, 6, millimetres=True)
    dataset.PixelSpacing = [0.7, 0.8]
    assert spacing_of(dataset, 0) == Spacing(0.7, 0.8, millimetres=True)


def test_the_frames_own_measures(make: Make) -> None:
    measures, group = Dataset(), Dataset()
    measures.PixelSpacing = [1, 2]
    group.PixelMeasuresSequence = [measures]
    dataset = make(PixelSpacing=[9, 9], PerFrameFunctionalGroupsSequence=[group, Dataset()])
    assert spacing_of(dataset, 0) == Spacing(1, 2, millimetres=True)
    assert spacing_of(dataset, 1) == Spacing(9, 9, millimetres=True)


def test_long_decimal_strings_are_read_whole(make: Make) -> None:
    dataset = make()
    dataset.add_new("PixelSpacing", "LO", "0.6999999999999999990\\0.5 ")
    assert spacing_of(dataset, 0) == Spacing(0.7, 0.5, millimetres=True)


@pytest.mark.parametrize("numbers", [[0, 1], [-1, 1], [1, 11], [11, 1], [1]])
def test_what_is_no_spacing_is_not_used(make: Make, numbers: list[float]) -> None:
    dataset = make()
    dataset.add_new("PixelSpacing", "DS", numbers)
    assert spacing_of(dataset, 0) == Spacing(1, 1, millimetres=False)
