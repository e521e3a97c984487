"""Objects that err about themselves, or are damaged: usable where that can be told, else one of their series still."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client.dicom.keys import patient_key, short_key
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry
from client.dicom.scanning.reading import read_entry
from client.dicom.scanning.refresh import refresh
from client.dicom.scanning.walk import File
from client.dicom.writing import derived_uid
from shared.errors import InputError

Write = Callable[..., Path]

KEY = b"k" * 32
PIXELS = np.arange(16, dtype=np.uint16).reshape(4, 4) * 256
EXPLICIT, IMPLICIT = map(str, (ExplicitVRLittleEndian, ImplicitVRLittleEndian))


def entry_of(path: Path, member: str = "") -> Entry:
    status = path.stat()
    return read_entry(path.parent, KEY, File(path.name, status.st_size, status.st_mtime_ns, status.st_ino, "", member))


def written(write: Write, syntax: str, **values: object) -> Path:
    """An object in one of the native encodings."""
    path = write("a.dcm", **values)
    dataset = dcmread(path)
    dataset.decode()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.save_as(path, enforce_file_format=True)
    return path


def body_of(data: bytes) -> int:
    """Where the data set starts."""
    return 144 + int(struct.unpack_from("<I", data, 140)[0])


def saying(path: Path, syntax: str) -> Path:
    """The data set at `path`, as it is, behind a meta header that says `syntax`."""
    meta, data = dcmread(path), path.read_bytes()
    meta.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = DicomBytesIO()
    buffer.write(data[:132])
    write_file_meta_info(buffer, meta.file_meta)
    path.write_bytes(buffer.getvalue() + data[body_of(data) :])
    return path


@pytest.mark.parametrize(("real", "said"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT)])
def test_a_meta_header_that_errs_about_the_encoding(write: Write, real: str, said: str) -> None:
    path = saying(written(write, real), said)
    found = entry_of(path)
    assert (found.fault, found.transfer_syntax, found.rows) == ("", said, 4)
    assert np.array_equal(stored_frame(open_object(path.read_bytes()), 0).values, PIXELS)
    path.write_bytes(path.read_bytes()[:-1])
    assert entry_of(path).fault == "truncated"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("preamble", [b"", bytes(128) + b"DICM"])
def test_without_a_meta_header_the_encoding_is_found(write: Write, syntax: str, preamble: bytes) -> None:
    path = written(write, syntax)
    data = path.read_bytes()
    path.write_bytes(preamble + data[body_of(data) :])
    found = entry_of(path)
    assert (found.fault, found.transfer_syntax) == ("", syntax)
    dataset = open_object(path.read_bytes())
    assert str(dataset.file_meta.TransferSyntaxUID) == syntax
    assert np.array_equal(stored_frame(dataset, 0).values, PIXELS)


def test_without_a_meta_header_nothing_else_is_guessed(write: Write) -> None:
    compressed = write("a.dcm", syntax="1.2.840.10008.1.2.5")
    nameless = write("b.dcm", SOPClassUID="1.2.3")
    for path in (compressed, nameless):
        data = path.read_bytes()
        path.write_bytes(data[body_of(data) :])
        assert entry_of(path).fault == "unsupported_syntax"
        assert "TransferSyntaxUID" not in open_object(path.read_bytes()).file_meta


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a UID that is none": (replaced(b"2.25.", b"\n.25."), "unreadable"),
    "frames that are no count": (replaced(b"77", b"7x"), "unreadable"),
    "cut before the pixels": (lambda data: data[: data.index(b"\x28\x00\x10\x00") + 3], "truncated"),
    "cut in the pixels": (lambda data: data[:-1], "truncated"),
}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_stays_in_its_series(write: Write, damage: str, syntax: str) -> None:
    path = written(write, syntax, NumberOfFrames="77", SeriesInstanceUID="1.2.7", StudyInstanceUID="1.2.8")
    spoil, fault = DAMAGES[damage]
    path.write_bytes(spoil(path.read_bytes()))
    found = entry_of(path)
    assert (found.fault, found.modality, found.manufacturer) == (fault, "DX", "Tester")
    assert (found.series, found.study) == (short_key(KEY, "series", b"1.2.7"), short_key(KEY, "study", b"1.2.8"))
    assert found.patient == patient_key(KEY, b"", b"PAT-4711")


def test_half_a_uid_is_none(write: Write) -> None:
    path = write("a.dcm", SeriesInstanceUID="1.2.34")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"1.2.34") + 4])
    found = entry_of(path)
    assert (found.fault, found.series) == ("truncated", b"")
    assert found.sop == short_key(KEY, "sop", derived_uid("test", "image", "1").encode())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_with_a_bad_checksum_stays_in_its_series(write: Write, tmp_path: Path, method: int) -> None:
    path, packed = write("a.dcm", SeriesInstanceUID="1.2.7"), tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", method) as file:
        file.writestr("a", path.read_bytes())
        checksum = struct.pack("<I", file.getinfo("a").CRC)
    packed.write_bytes(packed.read_bytes().replace(checksum, bytes(4)))
    found = entry_of(packed, "a")
    assert (found.fault, found.modality) == ("unsafe_container", "DX")
    assert found.series == short_key(KEY, "series", b"1.2.7")


def test_an_archive_of_nothing_but_unsafe_zips_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    (tmp_path / "a" / "1.zip").write_bytes(b"PK\3\4 and then nothing")
    with Catalog(tmp_path / "c.sqlite") as catalog, pytest.raises(InputError) as caught:
        refresh(tmp_path / "a", catalog, key=KEY)
    assert "got 2 files, of which 1 not opened: in an archive file that is nested" in str(caught.value)
    assert "Unpack the zip yourself" in str(caught.value)
