"""Enhanced multi-frame objects: functional groups, dimensions, and highdicom as an oracle."""

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage

from client.dicom.geometry.frame import PHASE, Frame
from client.dicom.geometry.frames import object_frames
from client.dicom.geometry.stacks import stacks
from tests.client.dicom.geometry.series import (
    AXIAL,
    affine,
    encoded,
    frames_of,
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


def test_times_and_angles_of_mr() -> None:
    dataset = multi_frame(line(1) * 3)
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[0].MRModifierSequence = Items([item(InversionTimes=[50.0])])
    groups[1].MRTimingAndRelatedParametersSequence = Items([item(FlipAngle=15.0)])
    moments = item(FrameAcquisitionDateTime="20260102101112.5", FrameReferenceDateTime="20260102101113")
    groups[2].FrameContentSequence = Items([moments])
    frames = frames_of(encoded(dataset))
    assert phase_of(frames[0], "inversion_time") == "50"
    assert phase_of(frames[1], "flip_angle") == "15"
    times = [phase_of(frames[2], name) for name in ("acquisition_time", "reference_time")]
    assert times == ["101112.5", "101113"]  # the day is not kept
    references = {phase_of(frame, "frame_of_reference") for frame in frames}
    assert len(references) == 1
    assert references != {""}


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
