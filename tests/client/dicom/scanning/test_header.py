import contextlib
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client.dicom.pixels.image import read_image
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import elements
from client.dicom.scanning.header import Header, read_header
from shared.study import Input

Write = Callable[..., Path]

ROOT = Path(__file__).parents[4]
ARCHIVES = sorted((ROOT.parent / "shared" / "data" / "dicom").glob("*.zip"))

TEXTS = {
    "modality": "Modality",
    "manufacturer": "Manufacturer",
    "sex": "PatientSex",
    "age": "PatientAge",
    "photometric": "PhotometricInterpretation",
    "burned_in": "BurnedInAnnotation",
    "intent": "PresentationIntentType",
    "sop_class": "SOPClassUID",
    "body_part": "BodyPartExamined",
    "view_position": "ViewPosition",
    "laterality": "Laterality",
    "image_laterality": "ImageLaterality",
    "content_time": "ContentTime",
    "acquisition_time": "AcquisitionTime",
}
NUMBERS = {
    "samples": "SamplesPerPixel",
    "rows": "Rows",
    "columns": "Columns",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "high_bit": "HighBit",
    "pixel_representation": "PixelRepresentation",
}
#: name → keyword and how many values there must be; 0: the first of any number
DECIMALS = {
    "position": ("ImagePositionPatient", 3),
    "orientation": ("ImageOrientationPatient", 6),
    "pixel_spacing": ("PixelSpacing", 2),
    "imager_spacing": ("ImagerPixelSpacing", 2),
    "nominal_spacing": ("NominalScannedPixelSpacing", 2),
    "aspect": ("PixelAspectRatio", 2),
    "instance_number": ("InstanceNumber", 0),
    "acquisition_number": ("AcquisitionNumber", 0),
    "temporal_position": ("TemporalPositionIdentifier", 0),
    "temporal_index": ("TemporalPositionIndex", 0),
    "echo_number": ("EchoNumbers", 0),
    "echo_time": ("EchoTime", 0),
    "trigger_time": ("TriggerTime", 0),
    "b_value": ("DiffusionBValue", 0),
    "inversion_time": ("InversionTime", 0),
    "flip_angle": ("FlipAngle", 0),
    "reference_time": ("FrameReferenceTime", 0),
}
IDENTITIES = {
    "sop_uid": "SOPInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "study_uid": "StudyInstanceUID",
    "accession": "AccessionNumber",
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "frame_of_reference": "FrameOfReferenceUID",
}


def reason_of(path: Path) -> Reason | None:
    try:
        read_header(path)
    except LeftOutError as left_out:
        return left_out.reason
    return None


def numbers_of(dataset: Dataset, keyword: str, count: int) -> object:
    """What pydicom makes of the element: None for what is absent, no number, or not as many."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError):
        return None
    found = [] if value is None or value == "" else list(value) if isinstance(value, MultiValue) else [value]
    try:
        numbers = tuple(float(number) for number in found)
    except (ValueError, TypeError):
        return None
    if not numbers or not all(map(math.isfinite, numbers)) or len(numbers) not in (count or len(numbers),):
        return None
    return numbers if count else numbers[0]


def assert_equal(header: Header, dataset: Dataset) -> None:
    def text(keyword: str) -> str:
        return str(dataset.get(keyword) or "").strip("\0 ")

    for name, keyword in TEXTS.items():
        assert getattr(header, name) == text(keyword), name
    for name, keyword in NUMBERS.items():
        assert getattr(header, name) == int(dataset.get(keyword) or 0), name
    for name, (keyword, count) in DECIMALS.items():
        assert getattr(header, name) == numbers_of(dataset, keyword, count), name
    assert header.year == int(str(dataset.get("StudyDate") or "0")[:4])
    for name, keyword in IDENTITIES.items():
        assert getattr(header, name).decode("latin-1") == text(keyword), name
    kinds = dataset.get("ImageType") or [""]
    assert header.image_type == tuple(kind.strip() for kind in ([kinds] if isinstance(kinds, str) else kinds))
    assert header.frames == int(dataset.get("NumberOfFrames") or 1)
    assert header.transfer_syntax == str(dataset.file_meta.get("TransferSyntaxUID", "") or found_syntax(dataset))
    assert bool(header.pixels) == any(f"{kind}PixelData" in dataset for kind in ("", "Float", "DoubleFloat"))


def found_syntax(dataset: Dataset) -> str:
    """Of an object without a meta header whose pixels, if any, are native."""
    implicit, _ = dataset.original_encoding
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian) if "SOPClassUID" in dataset else ""


def compare(path: Path) -> int:
    """1 if both readers take the file and agree; what read_header leaves out needs a reason, not an exception."""
    try:
        header = read_header(path)
    except LeftOutError:
        return 0
    if not header.complete:
        return 0  # pydicom gives up on some of these and returns nothing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equal(header, dcmread(path, force=True))
    return 1


def test_values_equal_pydicoms_on_its_own_files() -> None:
    files = sorted({Path(name) for name in get_testdata_files()})
    assert sum(compare(path) for path in files if path.is_file()) > 100


@pytest.mark.data
@pytest.mark.skipif(not ARCHIVES, reason="../shared/data/dicom is not here")
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
def test_values_equal_pydicoms_on_real_files(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert sum(compare(path) for path in files) > len(files) // 2


def test_finds_the_native_pixels(write: Write) -> None:
    path = write("a.dcm")
    header = read_header(path)
    assert path.read_bytes()[header.offset : header.offset + header.length] == dcmread(path).PixelData
    assert header.complete
    assert header.size == path.stat().st_size


def test_identities_stay_out_of_repr(write: Write) -> None:
    assert "4711" not in repr(read_header(write("a.dcm")))


def test_a_value_cut_off_is_truncated(write: Write) -> None:
    path = write("a.dcm")
    path.write_bytes(path.read_bytes()[:500])
    assert reason_of(path) is Reason.TRUNCATED


def test_pixels_cut_off_are_incomplete(write: Write) -> None:
    path = write("a.dcm")
    path.write_bytes(path.read_bytes()[:-1])
    assert not read_header(path).complete


def test_fragments_cut_off_are_incomplete(write: Write) -> None:
    path = write("a.dcm", syntax="1.2.840.10008.1.2.5")
    assert read_header(path).complete
    path.write_bytes(path.read_bytes()[:-9])
    assert not read_header(path).complete


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"name,label\n" * 50, b"DICM" * 100])
def test_what_is_not_dicom(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.dcm"
    path.write_bytes(content)
    assert reason_of(path) is Reason.NOT_DICOM


def test_without_preamble_but_plausible(write: Write) -> None:
    path = write("a.dcm")
    whole = read_header(path)
    path.write_bytes(path.read_bytes()[132:])
    bare = read_header(path)
    assert (bare.sop_uid, bare.rows, bare.offset) == (whole.sop_uid, whole.rows, whole.offset - 132)


@pytest.mark.parametrize("uid", ["1.2\n.3", "1.2\\\\1.3", "1." + "2" * 80])
def test_a_hostile_uid_is_unreadable(write: Write, uid: str) -> None:
    path = write("a.dcm")
    whole = path.read_bytes()
    old = dcmread(path).SOPInstanceUID.encode()
    tag = struct.pack("<HH2s", 0x0008, 0x0018, b"UI")
    start = whole.index(tag) + 8
    length = len(old) + len(old) % 2
    new = uid.encode() + b"\0" * (len(uid) % 2)
    changed = whole[: start - 2] + struct.pack("<H", len(new)) + new + whole[start + length :]
    path.write_bytes(changed)
    assert reason_of(path) is Reason.UNREADABLE


def deflated(write: Write, filler: int) -> Path:
    path = write("a.dcm", ImageComments="x" * filler)
    whole = path.read_bytes()
    start = 144 + struct.unpack_from("<I", whole, 140)[0]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(whole[start:]) + deflater.flush()
    meta = dcmread(path).file_meta
    old, new = (
        uid.encode() + b"\0" * (len(uid) % 2) for uid in (meta.TransferSyntaxUID, DeflatedExplicitVRLittleEndian)
    )
    head = whole[:start].replace(struct.pack("<H", len(old)) + old, struct.pack("<H", len(new)) + new)
    length = struct.pack("<I", len(head) - 144)
    path.write_bytes(head[:140] + length + head[144:] + body)
    return path


def test_deflated(write: Write) -> None:
    header = read_header(deflated(write, 10))
    assert (header.transfer_syntax, header.rows, header.complete) == (DeflatedExplicitVRLittleEndian, 4, True)


def test_an_inflation_bomb_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "INFLATED_LIMIT", 1 << 12)
    assert reason_of(deflated(write, 8000)) is Reason.TOO_LARGE


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert reason_of(path) is Reason.SPECIAL_FILE


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_header_or_a_reason(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["CT_small.dcm", "MR_small_bigendian.dcm", "reportsi.dcm", "image_dfl.dcm"]))
    source = Path(str(get_testdata_files(name)[0]))
    content = bytearray(source.read_bytes()[:3000])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.dcm"
    path.write_bytes(content)
    reason_of(path)


def test_a_count_of_frames_of_thousands_of_digits_is_a_reason(write: Write) -> None:
    path = write("a.dcm", NumberOfFrames="1")
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x08\x00IS")
    path.write_bytes(data[: at + 6] + struct.pack("<H", 5000) + b"9" * 5000 + data[at + 10 :])
    with pytest.raises(LeftOutError) as caught:
        read_header(path)
    assert caught.value.reason is Reason.UNREADABLE


def test_no_value_of_a_file_reaches_a_log(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = write("a.dcm")
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.5.1.4", b"Muster^Erika 4711.4"))  # read as a UID
    for read in (read_header, lambda path: read_image(path, Input(modalities=("DX",), size=(8, 8)))):
        with contextlib.suppress(LeftOutError):
            read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        str(dcmread(path))  # pydicom itself, of what is wrong there
    assert not caplog.records
