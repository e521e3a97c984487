import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import client.dicom.scanning.scan as scanning
from client.dicom.labels.table import read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.header import Header, read_header
from client.dicom.scanning.scan import examine, scan
from client.dicom.writing import derived_uid
from shared.errors import InputError

Write = Callable[..., Path]

KEY = b"k" * 32


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        yield catalog


def uid(number: int) -> str:
    return derived_uid("test", "image", str(number))


def test_every_file_ends_usable_or_with_one_reason(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    first = write("a.dcm", 1)
    write("b again.dcm", 1, InstitutionName="elsewhere")
    shutil.copyfile(first, archive / "c copy.dcm")
    write("scout.dcm", 2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    broken = write("broken.dcm", 3)
    broken.write_bytes(broken.read_bytes()[:-8])
    write("film.dcm", 4, NumberOfFrames=2)
    write("burned.dcm", 5, BurnedInAnnotation="YES")
    write("odd.dcm", 6, PhotometricInterpretation="HSV")
    write("ct.dcm", 7, Modality="CT")
    write("unlabelled.dcm", 8)
    write("conflict.dcm", 9)
    (archive / "notes.dcm").write_text("nothing")
    os.mkfifo(archive / "pipe")
    (archive / "loop").symlink_to(archive)
    (archive / "labels.csv").write_text(
        "sop_instance_uid,label\n"
        + "".join(f"{uid(n)},yes\n" for n in range(1, 8))
        + f"{uid(9)},yes\n{uid(9)},no\n1.2.3,no\n"
    )
    labels = read_labels(archive / "labels.csv", KEY)
    report = scan(archive, catalog, key=KEY, labels=labels, modalities=("DX",))
    assert report.files == 13
    assert report.usable == 1
    assert dict(report.skipped) == {
        Reason.NOT_DICOM: 1,
        Reason.TRUNCATED: 1,
        Reason.LOCALIZER: 1,
        Reason.DUPLICATE: 2,
        Reason.MULTI_FRAME: 1,
        Reason.WRONG_MODALITY: 1,
        Reason.UNSUPPORTED_PIXELS: 1,
        Reason.BURNED_IN: 1,
        Reason.NO_LABEL: 1,
        Reason.LABEL_CONFLICT: 1,
        Reason.SPECIAL_FILE: 1,
    }
    assert list(report.skipped) == [reason for reason in Reason if reason in report.skipped]
    assert (dict(report.by_label), dict(report.by_modality)) == ({"yes": 1}, {"DX": 1})
    assert report.labels_unmatched == 1


def test_only_what_changed_is_read(
    write: Write, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(f"{number}.dcm", number) for number in range(4)]
    assert scan(tmp_path / "archive", catalog, key=KEY).read == 4
    paths[0].unlink()
    write("1.dcm", 11, Modality="CT")
    os.utime(paths[2], ns=(0, 5))
    opened: list[str] = []

    def read(path: Path) -> Header:
        opened.append(path.name)
        return read_header(path)

    monkeypatch.setattr(scanning, "read_header", read)
    report = scan(tmp_path / "archive", catalog, key=KEY)
    assert (report.read, report.unchanged, report.removed, report.usable) == (2, 1, 1, 3)
    assert sorted(opened) == ["1.dcm", "2.dcm"]
    assert dict(report.by_modality) == {"CT": 1, "DX": 2}


def test_a_killed_scan_goes_on(write: Write, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        write(f"{number}.dcm", number)
    monkeypatch.setattr(scanning, "BATCH", 2)

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tmp_path / "archive", catalog, key=KEY, progress=stop)
    assert scan(tmp_path / "archive", catalog, key=KEY).read == 1


def test_a_truncated_copy_does_not_hide_the_whole_one(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    whole = write("b.dcm", 1)
    (tmp_path / "archive" / "a.dcm").write_bytes(whole.read_bytes()[:-2])
    found, _ = examine(tmp_path / "archive", catalog, key=KEY)
    assert [(item.path.name, item.reason) for item in found] == [("a.dcm", Reason.TRUNCATED), ("b.dcm", None)]


def test_patients_are_told_apart_by_issuer(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    write("a.dcm", 1, PatientID="7", IssuerOfPatientID="north")
    write("b.dcm", 2, PatientID="7", IssuerOfPatientID="south")
    write("c.dcm", 3, PatientID="7", IssuerOfPatientID="south")
    write("d.dcm", 4, PatientID="", StudyInstanceUID="1.2.3")
    write("e.dcm", 5, PatientID="", StudyInstanceUID="1.2.3")
    report = scan(tmp_path / "archive", catalog, key=KEY)
    assert (report.patients, report.orphans) == (3, 2)


def test_a_folder_without_dicom(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        scan(tmp_path / "archive", catalog, key=KEY)
    (tmp_path / "archive" / "x.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="none of them DICOM"):
        scan(tmp_path / "archive", catalog, key=KEY)


def test_a_label_file_that_matches_nothing(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    write("a.dcm")
    (tmp_path / "labels.csv").write_text("patient_id,label\nSOMEBODY,yes\n")
    labels = read_labels(tmp_path / "labels.csv", KEY)
    with pytest.raises(InputError, match="by patient_id, got 1 rows, of which none matches") as caught:
        scan(tmp_path / "archive", catalog, key=KEY, labels=labels)
    assert "SOMEBODY" not in str(caught.value)
