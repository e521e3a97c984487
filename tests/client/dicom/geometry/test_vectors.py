"""Objects that count their frames in vectors: nuclear medicine and dose grids."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import NuclearMedicineImageStorage, RTDoseStorage

from client.dicom.geometry.frames import object_frames
from client.dicom.geometry.stacks import stacks
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.geometry.series import AXIAL, encoded, frames_of, image, item, stacks_of


def nuclear(slices: list[int], distance: float | None = 3.0, **values: object) -> Dataset:
    """A reconstructed NM object whose geometry is in its detector."""
    dataset = image(1, SOPClassUID=NuclearMedicineImageStorage, Modality="NM", NumberOfFrames=len(slices), **values)
    del dataset.ImageOrientationPatient
    detector = item(ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=list(AXIAL))
    dataset.DetectorInformationSequence = Items([detector])
    dataset.SliceVector, dataset.SpacingBetweenSlices = slices, distance
    return dataset


@pytest.mark.parametrize("distance", [3.0, -3.0])
def test_nuclear_medicine_counts_slices_along_the_normal(distance: float) -> None:
    frames = frames_of(encoded(nuclear([1, 2, 3], distance)))
    assert [frame.position for frame in frames] == [(1, 2, 3 + index * distance) for index in range(3)]
    (stack,) = stacks(frames)
    assert stack.frames == ((0, 1, 2) if distance > 0 else (2, 1, 0))
    assert stack.spacing == (3.0, 0.5, 0.5)


def test_gated_nuclear_medicine_is_a_volume_for_each_time_slot() -> None:
    dataset = nuclear([1, 2, 3, 1, 2, 3])
    dataset.TimeSlotVector = [1, 1, 1, 2, 2, 2]
    assert [stack.frames for stack in stacks_of([dataset])] == [(0, 1, 2), (3, 4, 5)]


def test_objects_of_two_frames_of_reference_are_two_volumes() -> None:
    lower, upper = nuclear([1, 2, 3]), nuclear([4, 5, 6], FrameOfReferenceUID="2.25.7")
    assert [stack.frames for stack in stacks_of([lower, above(lower)])] == [(0, 1, 2, 3, 4, 5)]
    assert sorted(stack.frames for stack in stacks_of([lower, upper])) == [(0, 1, 2), (3, 4, 5)]


def above(lower: Dataset) -> Dataset:
    """The three slices above those of `lower`, in its frame of reference."""
    return nuclear([4, 5, 6], FrameOfReferenceUID=lower.FrameOfReferenceUID)


@pytest.mark.parametrize("distance", [None, 0.0, 1e9])
def test_nuclear_medicine_without_a_distance_has_no_places(distance: float | None) -> None:
    positions = [frame.position for frame in frames_of(encoded(nuclear([1, 2, 3], distance)))]
    assert positions[1:] == [None, None]


def test_projections_have_no_places() -> None:
    dataset = nuclear([1, 1])
    del dataset.SliceVector
    dataset.AngularViewVector = [1, 2]
    assert [frame.position for frame in frames_of(encoded(dataset))] == [None, None]


@pytest.mark.parametrize(
    ("offsets", "heights"),
    [
        ([0, 2.5, 5], [30, 32.5, 35]),
        ([0, -2.5, -5], [30, 27.5, 25]),
        ([30, 32.5, 35], [30, 32.5, 35]),  # z itself
        ([7, 9, 11], [None] * 3),  # neither
        ([0, 2.5], [None] * 3),  # not as many as frames
    ],
)
def test_dose_grids(offsets: list[float], heights: list[float | None]) -> None:
    dataset = image(1, SOPClassUID=RTDoseStorage, NumberOfFrames=3, ImagePositionPatient=[1, 2, 30])
    dataset.GridFrameOffsetVector = offsets
    positions = [frame.position for frame in frames_of(encoded(dataset))]
    assert [place[2] if place else None for place in positions] == heights


@pytest.mark.parametrize("value", [0, 65536])
def test_a_matrix_that_is_none_is_unreadable(value: int) -> None:
    dataset = nuclear([1, 2])
    dataset["Rows"]._value = value
    with pytest.raises(LeftOutError) as caught:
        object_frames(dataset)
    assert caught.value.reason is Reason.UNREADABLE
