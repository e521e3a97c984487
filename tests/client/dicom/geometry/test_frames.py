"""Objects → frames: classic, enhanced, counted by vectors."""

import struct
from collections.abc import Callable
from typing import Any

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage, NuclearMedicineImageStorage, RTDoseStorage

from client.dicom.geometry.frame import PHASE, Frame, pack_frames, unpack_frames
from client.dicom.geometry.frames import MOST_FRAMES, classic_frame, needs_dataset, object_frames
from client.dicom.geometry.stacks import stacks
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.geometry.series import (
    AXIAL,
    affine,
    encoded,
    frames_of,
    header_of_bytes,
    image,
    item,
    line,
    multi_frame,
    near,
    read_back,
    same_place,
    series,
    stacks_of,
)


def phase_of(frame: Frame, name: str) -> str:
    return frame.phase[PHASE.index(name)] if frame.phase else ""


def numbers(frames: tuple[Frame, ...]) -> list[int]:
    return [frame.number for frame in frames]


# --- classic ---


@pytest.mark.parametrize(
    "values",
    [
        {"ImagePositionPatient": [1, 2, 3]},
        {"ImagePositionPatient": None, "ImageOrientationPatient": None},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0], "ImagePositionPatient": [1, 2, 3]},
        {"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]},
        {"PixelSpacing": None, "NominalScannedPixelSpacing": [0.2, 0.1]},
        {"EchoTime": 2.46, "EchoNumbers": 2, "TriggerTime": 41.5, "TemporalPositionIdentifier": 3},
        {"DiffusionBValue": 1000.0, "AcquisitionNumber": None, "InstanceNumber": None},
        {"ImageType": None},
    ],
)
def test_the_header_says_what_the_dataset_says(values: dict[str, Any]) -> None:
    place = {"ImagePositionPatient": [0, 0, 0]}
    dataset = image(5, **{**place, **values})
    header = header_of_bytes(encoded(dataset))
    assert not needs_dataset(header)
    assert object_frames(read_back(dataset)) == (classic_frame(header),)


def test_a_classic_frame() -> None:
    (frame,) = frames_of(encoded(image(5, ImagePositionPatient=[1, 2, 3], EchoTime=2.5)))
    assert (frame.rows, frame.columns, frame.number) == (4, 6, 5)
    assert (frame.position, frame.orientation, frame.spacing) == ((1, 2, 3), AXIAL, (0.5, 0.5))
    assert phase_of(frame, "echo_time") == "2.5"
    assert phase_of(frame, "image_type") == r"ORIGINAL\PRIMARY\AXIAL"


def test_a_projection_has_a_spacing_and_no_place() -> None:
    values = {"ImageOrientationPatient": None, "PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}
    (frame,) = frames_of(encoded(image(1, **values)))
    assert (frame.position, frame.orientation, frame.spacing) == (None, None, (0.2, 0.1))


def test_a_cine_has_no_places() -> None:
    frames = frames_of(encoded(image(2, NumberOfFrames=3, ImagePositionPatient=[1, 2, 3])))
    assert [frame.position for frame in frames] == [None] * 3
    assert numbers(frames) == sorted(set(numbers(frames)))
    (stack,) = stacks(frames)
    assert (stack.reason, stack.frames) == (Reason.NO_GEOMETRY, (0, 1, 2))


@pytest.mark.parametrize("count", [MOST_FRAMES + 1, 10**9])
def test_more_frames_than_any_volume_has(count: int) -> None:
    dataset = image(1)
    dataset.NumberOfFrames = count
    with pytest.raises(LeftOutError) as caught:
        object_frames(dataset)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
@pytest.mark.parametrize("value", [None, 0, -1, 65536, 2**64, "many"])
@pytest.mark.parametrize("make", [lambda: image(1), lambda: multi_frame(line(2)), lambda: nuclear([1, 2])])
def test_a_dataset_without_a_matrix_is_unreadable(make: Callable[[], Dataset], keyword: str, value: object) -> None:
    dataset = make()
    dataset[keyword]._value = value
    with pytest.raises(LeftOutError) as caught:
        object_frames(dataset)
    assert caught.value.reason is Reason.UNREADABLE


# --- enhanced ---


def enhanced(places: int = 4, times: int = 2, **values: object) -> Dataset:
    """`places` × `times` frames, time by time, with the dimensions stack, in-stack position, time."""
    dataset = multi_frame(line(places) * times, **values)
    pointers = (0x00209056, 0x00209057, 0x00209128)
    dataset.DimensionIndexSequence = Items([item(DimensionIndexPointer=pointer) for pointer in pointers])
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        time, place = divmod(index, places)
        content = item(StackID="1", InStackPositionNumber=place + 1, DimensionIndexValues=[1, place + 1, time + 1])
        group.FrameContentSequence = Items([content])
    return dataset


def test_dimensions_of_place_are_no_phases() -> None:
    frames = frames_of(encoded(enhanced()))
    assert [phase_of(frame, "dimensions") for frame in frames] == ["1"] * 4 + ["2"] * 4
    found = stacks(frames)
    assert [stack.frames for stack in found] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    for stack in found:
        near(stack, affine((-100, -50, 10), [(0, 0, 2), (0, 0.5, 0), (0.5, 0, 0)]))


def test_what_a_frame_says_goes_before_what_all_share() -> None:
    dataset = multi_frame(line(3))
    own = dataset.PerFrameFunctionalGroupsSequence[1]
    own.PixelMeasuresSequence = Items([item(PixelSpacing=[0.7, 0.3])])
    own.PlaneOrientationSequence = Items([item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])])
    frames = frames_of(encoded(dataset))
    assert [frame.spacing for frame in frames] == [(0.5, 0.5), (0.7, 0.3), (0.5, 0.5)]
    assert frames[1].orientation == (0, 1, 0, 0, 0, -1)


def test_the_macros_of_mr() -> None:
    dataset = multi_frame(line(1) * 6)
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[0].MREchoSequence = Items([item(EffectiveEchoTime=2.5)])
    groups[1].MRDiffusionSequence = Items(
        [
            item(
                DiffusionBValue=1000.0,
                DiffusionGradientDirectionSequence=Items([item(DiffusionGradientOrientation=[0.0, 0.6, 0.8])]),
            )
        ]
    )
    groups[2].MRImageFrameTypeSequence = Items([item(FrameType=["DERIVED", "PRIMARY"], ComplexImageComponent="PHASE")])
    groups[3].CardiacSynchronizationSequence = Items([item(NominalCardiacTriggerDelayTime=41.5)])
    groups[4].FrameContentSequence = Items([item(StackID="2", TemporalPositionIndex=7, FrameAcquisitionNumber=9)])
    groups[5].TemporalPositionSequence = Items([item(TemporalPositionTimeOffset=12.5)])
    frames = frames_of(encoded(dataset))
    assert phase_of(frames[0], "echo_time") == "2.5"
    assert (phase_of(frames[1], "b_value"), phase_of(frames[1], "gradient")) == ("1000", r"0\0.6\0.8")
    assert phase_of(frames[2], "image_type") == r"DERIVED\PRIMARY\PHASE"
    assert phase_of(frames[3], "trigger") == "41.5"
    assert [phase_of(frames[4], name) for name in ("stack", "temporal", "acquisition")] == ["2", "7", "9"]
    assert phase_of(frames[5], "temporal") == "12.5"


def test_segments_at_one_place_are_volumes() -> None:
    dataset = multi_frame(line(3) * 2)
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.SegmentIdentificationSequence = Items([item(ReferencedSegmentNumber=1 + index // 3)])
    assert [stack.frames for stack in stacks_of([dataset])] == [(0, 1, 2), (3, 4, 5)]


def test_a_single_enhanced_frame_has_its_place_in_groups_too() -> None:
    dataset = multi_frame(line(1))
    dataset.SOPClassUID = EnhancedCTImageStorage
    (frame,) = frames_of(encoded(dataset))
    assert (frame.position, frame.spacing) == ((-100, -50, 10), (0.5, 0.5))


def test_frames_without_a_group_have_no_place() -> None:
    dataset = multi_frame(line(3))
    del dataset.PerFrameFunctionalGroupsSequence[2]
    assert [frame.position is None for frame in frames_of(encoded(dataset))] == [False, False, True]


def test_objects_of_one_series_are_ordered_by_number_and_frame() -> None:
    first, second = multi_frame(line(2)), multi_frame(line(2))
    second.InstanceNumber, second.SOPInstanceUID = 2, "2.25.2"
    second.ConcatenationFrameOffsetNumber = 5
    frames = [*frames_of(encoded(second)), *frames_of(encoded(first))]
    assert sorted(frame.number for frame in frames) == [(1 << 20), (1 << 20) + 1, (2 << 20) + 5, (2 << 20) + 6]
    # nothing else tells them apart: two volumes in the order of the objects
    assert [stack.frames for stack in stacks(frames)] == [(2, 3), (0, 1)]


@pytest.mark.parametrize("orientation", [AXIAL, (0.0, 0.6, -0.8, 1.0, 0.0, 0.0)])
def test_equals_highdicom_on_a_segmentation(orientation: tuple[float, ...]) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    places = [(np.array([5.0, -7.0, 11.0]) + 2.5 * step * normal).round(6).tolist() for step in range(4)]
    sources = [read_back(dataset) for dataset in series(places, ImageOrientationPatient=list(orientation))]
    segmentation = segmented(sources)
    (stack,) = stacks(object_frames(segmentation))
    geometry = segmentation.get_volume_geometry()
    assert geometry is not None
    assert stack.reason is None
    assert same_place(stack, geometry.affine, geometry.spatial_shape) < 1e-6


def segmented(sources: list[Dataset]) -> highdicom.seg.Segmentation:
    """highdicom's segmentation of all voxels of a series."""
    for source in sources:
        del source.SpacingBetweenSlices  # highdicom would believe it
        source.StudyDate = source.StudyTime = source.AccessionNumber = source.PatientName = ""
        source.PatientBirthDate = source.PatientSex = source.StudyID = ""
    organ = highdicom.sr.CodedConcept("41216001", "SCT", "Prostate")
    segment = highdicom.seg.SegmentDescription(
        1, "organ", organ, organ, algorithm_type="MANUAL", tracking_uid="2.25.9", tracking_id="1"
    )
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.ones((len(sources), sources[0].Rows, sources[0].Columns), dtype=np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid="2.25.3",
        series_number=2,
        sop_instance_uid="2.25.4",
        instance_number=1,
        manufacturer="Tester",
        manufacturer_model_name="Tester",
        software_versions="1",
        device_serial_number="1",
    )


# --- nuclear medicine, dose ---


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


# --- whatever the header holds ---

VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.text(max_size=20), st.integers(-(2**40), 2**40), st.floats(), st.lists(st.floats(), max_size=7),
    st.binary(max_size=8), st.just([Dataset()]),
)  # fmt: skip
KEYWORDS = [
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "InstanceNumber", "NumberOfFrames", "ImageType",
    "EchoTime", "SliceVector", "GridFrameOffsetVector", "SpacingBetweenSlices", "DetectorInformationSequence",
    "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "DimensionIndexSequence", "AcquisitionNumber",
    "ConcatenationFrameOffsetNumber", "Rows",
]  # fmt: skip


class Header(dict[str, Any]):
    """A dataset whose values are not of their kind: what pydicom hands out for a damaged file."""

    def __getattr__(self, keyword: str) -> Any:
        if keyword not in self:
            raise AttributeError(keyword)
        return self[keyword]


@given(st.dictionaries(st.sampled_from(KEYWORDS), VALUES))
@settings(deadline=None)  # a header may claim many frames
def test_only_left_out_error_is_raised(values: dict[str, Any]) -> None:
    dataset = Header({"Rows": 4, "Columns": 6, **values})
    try:
        frames = object_frames(dataset)  # type: ignore[arg-type]
    except LeftOutError as error:
        assert error.reason in (Reason.UNREADABLE, Reason.TOO_LARGE)
        return
    assert unpack_frames(pack_frames(frames)) == frames
    assert sorted(index for stack in stacks(frames) for index in stack.frames) == list(range(len(frames)))


@pytest.mark.parametrize("value", [b"1\\0\\0\\0\\x\\0", b"1\\0\\0\\0\\1", b"1\\0\\0\\0\\1\\nan", b"\\\\\\\\\\"])
def test_orientations_that_are_no_numbers(value: bytes) -> None:
    data = encoded(image(1, ImagePositionPatient=[1, 2, 3]))
    good = b"1.0\\0.0\\0.0\\0.0\\1.0\\0.0 "
    start = data.index(good)
    tag = struct.pack("<HH2sH", 0x20, 0x37, b"DS", len(good))
    assert data[start - 8 : start] == tag
    (frame,) = frames_of(data.replace(good, value.ljust(len(good))))
    assert frame.orientation is None
