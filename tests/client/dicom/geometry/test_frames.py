"""Objects → frames: classic ones, and whatever a header holds."""

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from client.dicom.geometry.frame import PHASE, Frame, pack_frames, unpack_frames
from client.dicom.geometry.frames import MOST_FRAMES, classic_frame, needs_dataset, object_frames
from client.dicom.geometry.stacks import stacks
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.geometry.series import (
    AXIAL,
    encoded,
    frames_of,
    header_of_bytes,
    image,
    line,
    multi_frame,
    read_back,
)


def phase_of(frame: Frame, name: str) -> str:
    return frame.phase[PHASE.index(name)] if frame.phase else ""


def numbers(frames: tuple[Frame, ...]) -> list[int]:
    return [frame.number for frame in frames]


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
        {"InversionTime": 50, "FlipAngle": 15, "AcquisitionTime": "101112.25", "FrameReferenceTime": 1500.5},
        {"FrameOfReferenceUID": None},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
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


def test_no_uid_and_no_date_is_kept() -> None:
    uid = "1.2.3.4711"
    values = {"AcquisitionTime": "101112", "AcquisitionDate": "20260102", "FrameOfReferenceUID": uid}
    (frame,) = frames_of(encoded(image(5, ImagePositionPatient=[1, 2, 3], **values)))
    assert phase_of(frame, "frame_of_reference") == hashlib.sha256(uid.encode()).hexdigest()[:8]
    packed = pack_frames((frame,))
    assert b"4711" not in packed
    assert b"20260102" not in packed


@pytest.mark.parametrize(
    ("samples", "photometric", "expected"),
    [(1, "MONOCHROME2", ""), (3, "RGB", "colour"), (3, "YBR_FULL", "colour"), (1, "PALETTE COLOR", "colour")],
)
def test_colour_is_told_from_grey(samples: int, photometric: str, expected: str) -> None:
    (frame,) = frames_of(encoded(image(5, SamplesPerPixel=samples, PhotometricInterpretation=photometric)))
    assert phase_of(frame, "colour") == expected


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
@pytest.mark.parametrize("make", [lambda: image(1), lambda: multi_frame(line(2))])
def test_a_dataset_without_a_matrix_is_unreadable(make: Callable[[], Dataset], keyword: str, value: object) -> None:
    dataset = make()
    dataset[keyword]._value = value
    with pytest.raises(LeftOutError) as caught:
        object_frames(dataset)
    assert caught.value.reason is Reason.UNREADABLE


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
