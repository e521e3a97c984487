import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from client.dicom.geometry.frame import unpack_frames
from client.dicom.scanning.entry import Entry, place_of
from client.dicom.scanning.reading import read_entry
from client.dicom.scanning.walk import File, listed, pages
from shared.errors import SiteError

Write = Callable[..., Path]

KEY = b"k" * 32


def entry_of(path: Path, base: Path) -> Entry:
    status = path.stat()
    name = os.fspath(path.relative_to(base))
    return read_entry(base, KEY, File(name, status.st_size, status.st_mtime_ns, status.st_ino))


def test_an_entry_of_an_image(write: Write, tmp_path: Path) -> None:
    path = write(
        "a/b.dcm", Modality="MG", StudyDate="20190228", ViewPosition="MLO", ImageLaterality="R", Laterality="L",
        BodyPartExamined="BREAST", PresentationIntentType="FOR PROCESSING", InstanceNumber=7,
        ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[0.5, 0.25],
    )  # fmt: skip
    entry = entry_of(path, tmp_path)
    assert (entry.fault, entry.modality, entry.year, entry.view_position) == ("", "MG", 2019, "MLO")
    assert (entry.laterality, entry.body_part, entry.intent) == ("R", "BREAST", "FOR PROCESSING")
    assert (entry.rows, entry.columns, entry.number_of_frames) == (4, 4, 1)
    (frame,) = unpack_frames(entry.frames)
    assert (frame.position, frame.spacing, frame.number) == ((1.0, 2.0, 3.0), (0.5, 0.25), 7)


def test_the_place_is_told_to_who_has_the_key(write: Write, tmp_path: Path) -> None:
    name = os.fsdecode("Muster, Ärika\n/".encode() + b"\xff.dcm")
    path = write(name)
    entry = entry_of(path, tmp_path / "archive")
    place = place_of(KEY, entry)
    assert (place.path, place.member, place.series_uid) == (name, "", dcmread(path).SeriesInstanceUID)
    assert place.location(tmp_path / "archive").path == path
    assert "Muster" not in repr(place)
    with pytest.raises(SiteError, match="Delete the catalog") as caught:
        place_of(b"x" * 32, entry)
    assert "Muster" not in str(caught.value)


def test_the_place_of_a_member(write: Write, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.write(write("x.dcm"), "../ü/x.dcm")
    (page,) = (page for page in pages(tmp_path) if page.container)
    (member,) = listed(page, tmp_path).files
    entry = read_entry(tmp_path, KEY, member)
    location = place_of(KEY, entry).location(tmp_path)
    assert (location.path, location.member) == (tmp_path / "a.zip", "../ü/x.dcm")
    assert (entry.fault, entry.stamp) == ("", member.stamp)


def test_frames_of_an_object_with_several(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm", NumberOfFrames=2, PixelData=bytes(64), PixelSpacing=[2, 3])
    entry = entry_of(path, tmp_path)
    assert (entry.fault, entry.number_of_frames) == ("", 2)
    assert [frame.number for frame in unpack_frames(entry.frames)] == [0, 1]


def test_equal_files_have_equal_entries_but_for_the_place(write: Write, tmp_path: Path) -> None:
    first, second = (entry_of(write(name), tmp_path) for name in ("a.dcm", "b.dcm"))
    assert first.file != second.file
    assert first.sealed != second.sealed
    assert (first.sop, first.series, first.patient, first.frames) == (
        second.sop, second.series, second.patient, second.frames,
    )  # fmt: skip


def test_a_text_without_end_is_cut(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm")
    data = path.read_bytes()
    at = data.index(b"\x08\x00\x70\x00LO")
    long = b"x" * 60000
    path.write_bytes(data[: at + 6] + len(long).to_bytes(2, "little") + long + data[at + 8 + 6 :])
    entry = entry_of(path, tmp_path)
    assert entry.manufacturer == "x" * 64
