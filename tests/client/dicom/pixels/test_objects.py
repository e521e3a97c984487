import io
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client.dicom.pixels.objects import KEPT, open_object
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import elements, unusual

Make = Callable[..., Dataset]

ROOT = Path(__file__).parents[4]
ARCHIVES = sorted((ROOT.parent / "shared" / "data" / "dicom").glob("*.zip"))
PIXELS = 0x7FE00010


def packed(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """`dataset` as a file in native `syntax`."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def reason_of(data: bytes) -> Reason:
    with pytest.raises(LeftOutError) as caught:
        open_object(data)
    return caught.value.reason


def value(element: DataElement | RawDataElement | None) -> object:
    return None if element is None else element.value


def compare(data: bytes) -> int:
    """1 if `data` opens and every element kept has pydicom's value; 0 if it is left out."""
    try:
        ours = open_object(data)
    except LeftOutError:
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = dcmread(io.BytesIO(data), force=True)
        if theirs.file_meta.get("TransferSyntaxUID") or "SOPClassUID" not in theirs:  # else it is found by what it is
            assert ours.file_meta.get("TransferSyntaxUID") == theirs.file_meta.get("TransferSyntaxUID")
        for tag in theirs.keys():  # noqa: SIM118 - a Dataset is no dict
            if tag.group in KEPT and tag.group != 0x7FE0:
                assert tag in ours, tag
                assert str(ours[tag].value) == str(theirs[tag].value), tag
        if PIXELS in theirs and len(theirs[PIXELS].value or b""):
            pixels = value(ours.get_item(PIXELS))
            assert isinstance(pixels, bytes)
            assert pixels.startswith(theirs[PIXELS].value)
    return 1


def test_values_equal_pydicoms_on_its_own_files() -> None:
    files = {Path(name) for name in get_testdata_files() if Path(name).is_file()}
    assert sum(compare(path.read_bytes()) for path in sorted(files)) > 160


@pytest.mark.data
@pytest.mark.skipif(not ARCHIVES, reason="../shared/data/dicom is not here")
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
def test_values_equal_pydicoms_on_real_files(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = [info for info in file.infolist() if not info.is_dir()][::5]
        compared = sum(compare(file.read(info)) for info in members)
    assert compared > len(members) // 2


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_encoding_without_who_the_patient_is(make: Make, syntax: str) -> None:
    item = Dataset()
    item.WindowCenter = 7
    dataset = make(PatientID="PAT-4711", FrameVOILUTSequence=[item])
    dataset.add_new(0x00090010, "LO", "KONSIL 4711")
    opened = open_object(packed(dataset, syntax))
    assert (opened.Rows, opened.Columns, opened.Modality) == (4, 4, "DX")
    assert opened.FrameVOILUTSequence[0].WindowCenter == 7
    assert not {tag.group for tag in opened.keys()} - KEPT  # noqa: SIM118
    assert "4711" not in str(opened).replace(str(make().SOPInstanceUID), "").replace("ACC-4711", "")


def groups(count: int, *, undefined: bool) -> Dataset:
    """An enhanced object with `count` frames, its sequences of undefined length or not."""
    dataset = Dataset()
    frames = []
    for number in range(count):
        transformation, frame = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = number + 1, -number
        frame.PixelValueTransformationSequence = [transformation]
        frame["PixelValueTransformationSequence"].is_undefined_length = undefined
        frame.is_undefined_length_sequence_item = undefined
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
    return dataset


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_functional_groups_become_items(make: Make, syntax: str, undefined: bool) -> None:
    dataset = make()
    dataset.update(groups(3, undefined=undefined))
    items = open_object(packed(dataset, syntax)).PerFrameFunctionalGroupsSequence
    slopes = [float(item.PixelValueTransformationSequence[0].RescaleSlope) for item in items]
    assert slopes == [1, 2, 3]


def test_the_private_header_of_a_mosaic_is_kept_and_of_no_other(make: Make) -> None:
    for kind, kept in ((["ORIGINAL", "PRIMARY", "M", "MOSAIC"], True), (["ORIGINAL", "PRIMARY", "M"], False)):
        dataset = make(ImageType=kind)
        dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
        dataset.add_new(0x0019100A, "US", 9)
        assert (0x0019100A in open_object(packed(dataset))) is kept


def test_what_cannot_be_opened_has_a_reason(make: Make) -> None:
    data = packed(make())
    assert reason_of(data[:-1]) is Reason.TRUNCATED
    assert reason_of(data[:200]) is Reason.TRUNCATED


def test_a_deflated_bomb_is_left_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "INFLATED_LIMIT", 1 << 16)
    data = packed(make(), DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = packer.compress(b"\0" * (1 << 20)) + packer.flush()
    assert reason_of(data[:start] + bomb) is Reason.TOO_LARGE
    assert reason_of(data[128:start] + bomb) is Reason.UNREADABLE  # pydicom would inflate it all


def test_items_without_end_do_not_reach_pydicom(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusual, "ITEMS_LIMIT", 2)
    dataset = make()
    dataset.update(groups(3, undefined=False))
    assert reason_of(packed(dataset)[132:]) is Reason.TOO_LARGE  # without preamble it is read by pydicom


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_raise_nothing_else(data: st.DataObject) -> None:
    dataset = Dataset()
    dataset.SOPClassUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows = dataset.Columns = 2
    dataset.update(groups(2, undefined=data.draw(st.booleans())))
    dataset.file_meta = FileMetaDataset()
    bytes_ = bytearray(packed(dataset, data.draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(132, len(bytes_) - 1))
        bytes_[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0xFE, 0xFF, 0xE0]))
    try:
        opened = open_object(bytes(bytes_[: data.draw(st.integers(100, len(bytes_)))]))
    except LeftOutError:
        return
    assert isinstance(opened, Dataset)
