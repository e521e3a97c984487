import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from client.dicom.labels.table import Labels, read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import place_of
from client.dicom.scanning.scan import Verdict, scan, verdicts
from client.dicom.writing import derived_uid, write_object
from shared.errors import InputError
from shared.study import Input

Make = Callable[..., Dataset]
Write = Callable[..., Path]

KEY = b"k" * 32


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "c.sqlite") as catalog:
        yield catalog


def uid(number: int) -> str:
    return derived_uid("test", "image", str(number))


def told(catalog: Catalog, labels: Labels | None = None) -> dict[str, Verdict]:
    """Path and member → what became of the file."""
    found = {}
    for entry, verdict in verdicts(catalog, key=KEY, labels=labels):
        place = place_of(KEY, entry)
        found[f"{place.path} {place.member}".strip()] = verdict
    return found


def test_every_file_ends_usable_or_with_one_reason(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    first = write("a.dcm", 1)
    write("b again.dcm", 1, InstitutionName="elsewhere")
    shutil.copyfile(first, archive / "c copy.dcm")
    write("scout.dcm", 2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    broken = write("broken.dcm", 3)
    broken.write_bytes(broken.read_bytes()[:-8])
    write("film.dcm", 4, NumberOfFrames=2, PixelData=bytes(64))
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
    report = scan(archive, catalog, key=KEY, labels=labels, spec=Input(modalities=("DX",), size=(8, 8), frames="none"))
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


def test_a_truncated_copy_does_not_hide_the_whole_one(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    whole = write("b.dcm", 1)
    (tmp_path / "archive" / "a.dcm").write_bytes(whole.read_bytes()[:-2])
    scan(tmp_path / "archive", catalog, key=KEY)
    assert told(catalog) == {"a.dcm": Reason.TRUNCATED, "b.dcm": ()}


def test_patients_are_told_apart_by_issuer(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    write("a.dcm", 1, PatientID="7", IssuerOfPatientID="north")
    write("b.dcm", 2, PatientID="7", IssuerOfPatientID="south")
    write("c.dcm", 3, PatientID="7", IssuerOfPatientID="south")
    write("d.dcm", 4, PatientID="", StudyInstanceUID="1.2.3")
    write("e.dcm", 5, PatientID="", StudyInstanceUID="1.2.3")
    report = scan(tmp_path / "archive", catalog, key=KEY)
    assert (report.patients, report.orphans) == (3, 2)


def test_counts_of_usable_images(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    write("a.dcm", 1, Modality="MG", StudyDate="20190101", ViewPosition="CC", Laterality="L")
    write("b.dcm", 2, Modality="MG", StudyDate="20190101", ViewPosition="MLO", ImageLaterality="R", Laterality="L")
    write("c.dcm", 3, Modality="MG", StudyDate="20200229", PresentationIntentType="FOR PROCESSING")
    write("d.dcm", 4, StudyDate="20180101", BurnedInAnnotation="YES")
    report = scan(tmp_path / "archive", catalog, key=KEY)
    assert dict(report.by_year) == {"2019": 2, "2020": 1}
    assert dict(report.by_view) == {"": 1, "CC": 1, "MLO": 1}
    assert dict(report.by_laterality) == {"": 1, "L": 1, "R": 1}
    assert dict(report.by_intent) == {"": 2, "FOR PROCESSING": 1}
    asked = Input(modalities=("MG",), size=(8, 8))
    assert dict(scan(tmp_path / "archive", catalog, key=KEY, spec=asked).skipped) == {
        Reason.BURNED_IN: 1,
        Reason.WRONG_INTENT: 1,
    }


def test_several_findings_are_counted_each(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    write("a.dcm", 1)
    write("b.dcm", 2)
    (tmp_path / "labels.csv").write_text(f"sop_instance_uid,label\n{uid(1)},edema|effusion\n{uid(2)},edema\n")
    labels = read_labels(tmp_path / "labels.csv", KEY)
    report = scan(tmp_path / "archive", catalog, key=KEY, labels=labels)
    assert (report.usable, dict(report.by_label)) == (2, {"edema": 2, "effusion": 1})
    assert told(catalog, labels) == {"a.dcm": ("edema", "effusion"), "b.dcm": ("edema",)}


def test_members_of_a_zip_are_counted_as_files(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    path = write("b.dcm", 1)
    with zipfile.ZipFile(tmp_path / "archive" / "a.zip", "w") as file:
        file.write(path, "same")
        file.writestr("nested.zip", b"PK")
    report = scan(tmp_path / "archive", catalog, key=KEY)
    assert (report.files, report.usable) == (3, 1)
    assert told(catalog) == {
        "a.zip nested.zip": Reason.UNSAFE_CONTAINER,
        "a.zip same": (),
        "b.dcm": Reason.DUPLICATE,
    }


def test_a_dicomdir_is_no_image_and_stands_for_its_folder(
    make: Make, write: Write, catalog: Catalog, tmp_path: Path
) -> None:
    write("IM0", 1)
    write("IM1", 2)
    directory = make(SOPClassUID=MediaStorageDirectoryStorage, FileSetID="DISC")
    del directory.PixelData
    directory.DirectoryRecordSequence = [Dataset(), Dataset()]
    write_object(tmp_path / "archive" / "DICOMDIR", directory)
    report = scan(tmp_path / "archive" / "DICOMDIR", catalog, key=KEY)
    assert (report.files, report.usable, dict(report.skipped)) == (3, 2, {Reason.NO_PIXELS: 1})


def test_a_label_file_that_matches_nothing(write: Write, catalog: Catalog, tmp_path: Path) -> None:
    write("a.dcm")
    (tmp_path / "labels.csv").write_text("patient_id,label\nSOMEBODY,yes\n")
    labels = read_labels(tmp_path / "labels.csv", KEY)
    with pytest.raises(InputError, match="by patient_id, got 1 rows, of which none matches") as caught:
        scan(tmp_path / "archive", catalog, key=KEY, labels=labels)
    assert "SOMEBODY" not in str(caught.value)
