"""The policy: which transform belongs to which kind of image, and what the window speaks of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.dicom.pixels.grey import Grey, grey_plane
from client.dicom.pixels.intensity import Rescale, modality_transform, window_speaks_of_stored
from shared.study import Input

Make = Callable[..., Dataset]

RESCALE: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": -10}


def plane(make: Make, values: list[int], dtype: Any = np.uint16, **header: object) -> Grey:
    return grey_plane(make(np.array([values], dtype=dtype), **header), 0)


def lut(first: int, entries: list[int]) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, 16])
    item.add_new("LUTData", "US", entries)
    return item


def shown(grey: Grey, window: Any) -> list[float]:
    spec = Input(modalities=("CT",), size=(8, 8), window=window)
    return [round(float(value), 3) for value in grey.shown(spec)[0]]


@pytest.mark.parametrize("modality", ["CT", "CR", "DX", "MG", "NM", "US", "OT", "MR", "PT"])
def test_rescale_makes_values_that_compare(make: Make, modality: str) -> None:
    assert plane(make, [0, 100], Modality=modality, **RESCALE).physical.tolist() == [[-10, 190]]


def test_a_modality_lut_excludes_rescale(make: Make) -> None:
    assert plane(make, [0, 1, 9], ModalityLUTSequence=[lut(0, [5, 6])], **RESCALE).physical.tolist() == [[5, 6, 6]]


@pytest.mark.parametrize("relationship", ["LOG", "DISP"])
@pytest.mark.parametrize("modality", ["XA", "RF"])
def test_what_leads_back_to_beam_intensity_is_not_shown(make: Make, modality: str, relationship: str) -> None:
    header = {"Modality": modality, "PixelIntensityRelationship": relationship}
    assert plane(make, [0, 9], **header, **RESCALE).physical.tolist() == [[0, 9]]
    assert plane(make, [0, 9], **header, ModalityLUTSequence=[lut(0, [5, 6])]).physical.tolist() == [[0, 9]]
    assert plane(make, [0, 9], **{**header, "PixelIntensityRelationship": "LIN"}, **RESCALE).physical[0, 1] == 8


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_the_files_own_window_speaks_of_stored_values(make: Make, modality: str) -> None:
    own: dict[str, Any] = {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown(plane(make, [0, 50, 100], Modality=modality, **own, **RESCALE), "file") == [0, 0.5, 1]
    # and the study's of rescaled ones
    assert shown(plane(make, [5, 55], Modality=modality, **own, **RESCALE), (50.5, 101)) == [0, 1]


def test_elsewhere_it_speaks_of_what_comes_out_of_the_transform(make: Make) -> None:
    own: dict[str, Any] = {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert shown(plane(make, [5, 30, 55], Modality="CT", **own, **RESCALE), "file") == [0, 0.5, 1]


def test_pet_slices_have_slopes_of_their_own(make: Make) -> None:
    one, other = (plane(make, [100, 200], Modality="PT", RescaleSlope=s, RescaleIntercept=0) for s in (1, 0.5))
    assert shown(one, (100.5, 201)) == [0.5, 1]
    assert shown(other, (100.5, 201)) == [0.25, 0.5]


def frames_of(count: int) -> list[Dataset]:
    """Functional groups: the slope of frame n is n + 1."""
    groups = []
    for number in range(count):
        transformation, group = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = number + 1, 0
        group.PixelValueTransformationSequence = [transformation]
        groups.append(group)
    return groups


def test_each_frame_has_its_own_slope_and_windows_come_behind(make: Make) -> None:
    dataset = make(NumberOfFrames=2, Modality="MR", **RESCALE, PerFrameFunctionalGroupsSequence=frames_of(2))
    assert [modality_transform(dataset, n, signed=False) for n in (0, 1)] == [Rescale(1, 0), Rescale(2, 0)]
    assert not window_speaks_of_stored(dataset, 0)
    del dataset.PerFrameFunctionalGroupsSequence
    assert modality_transform(dataset, 0, signed=False) == Rescale(2, -10)
    assert window_speaks_of_stored(dataset, 0)
    dataset.SharedFunctionalGroupsSequence = frames_of(1)
    assert modality_transform(dataset, 1, signed=False) == Rescale(1, 0)


@pytest.mark.parametrize("slope", ["nan", "inf", "-inf"])
def test_a_slope_that_is_no_number_leaves_the_image_out(make: Make, slope: str) -> None:
    dataset = make(RescaleIntercept=0)
    dataset.add_new("RescaleSlope", "LO", slope)
    with pytest.raises(ValueError, match="finite"):
        modality_transform(dataset, 0, signed=False)


def test_padding_of_floats_and_what_is_no_number(make: Make) -> None:
    pixels = np.array([[1.5, -1, np.nan, np.inf]], dtype="<f4")
    dataset = make(np.zeros((1, 4), np.uint16), BitsAllocated=32)
    del dataset.PixelData
    dataset.FloatPixelData, dataset.FloatPixelPaddingValue = pixels.tobytes(), -1.0
    grey = grey_plane(dataset, 0)
    assert grey.padding[grey.index].tolist() == [[False, True, True, True]]
    assert grey.physical[0, 0] == 1.5
