"""Whole objects from files and zips."""

import io
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from client.dicom.deident.reading import read_whole
from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import unusual
from tests.client.dicom.conftest import Make, Write


def reason(path: Path) -> Reason:
    with pytest.raises(LeftOutError) as error:
        read_whole(Location(path))
    return error.value.reason


def test_an_object_is_read_whole(write: Write) -> None:
    dataset = read_whole(Location(write("a.dcm", SeriesDescription="Thorax")))
    assert dataset.SeriesDescription == "Thorax"
    assert len(dataset.PixelData) == 32


def test_a_deflated_object_is_read(make: Make, tmp_path: Path) -> None:
    dataset = make()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_whole(Location(tmp_path / "a.dcm")).Rows == 4


def test_a_directory_of_dicom_files_is_no_object() -> None:
    assert reason(Path(get_testdata_file("DICOMDIR") or "")) is Reason.NO_PIXELS


def test_what_is_cut_is_truncated(write: Write) -> None:
    path = write("a.dcm")
    path.write_bytes(path.read_bytes()[:-2])
    assert reason(path) is Reason.TRUNCATED


def test_what_is_no_dicom_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("Muster" * 100)
    assert reason(tmp_path / "a.dcm") is Reason.NOT_DICOM
    assert reason(tmp_path / "none.dcm") is Reason.UNREADABLE


def test_more_items_than_any_object_has_are_refused(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, buffer = make(), io.BytesIO()
    dataset.ReferencedInstanceSequence = [Dataset() for _ in range(11)]
    dataset.save_as(buffer, enforce_file_format=True)
    (tmp_path / "a.dcm").write_bytes(buffer.getvalue())
    monkeypatch.setattr(unusual, "ITEMS_LIMIT", 11)
    assert len(read_whole(Location(tmp_path / "a.dcm")).ReferencedInstanceSequence) == 11
    monkeypatch.setattr(unusual, "ITEMS_LIMIT", 10)
    assert reason(tmp_path / "a.dcm") is Reason.TOO_LARGE
