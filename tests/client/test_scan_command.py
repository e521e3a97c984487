"""What `konsil-client scan` prints for a person."""

import json
import zipfile
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from client.cli import app
from client.dicom.writing import derived_uid, write_object
from tests.client.dicom.archives import keep
from tests.client.dicom.conftest import make_object
from tests.client.dicom.geometry.series import line, series
from tests.client.dicom.labels.segmentations import COLUMNS, ROWS, affine, ct, written


def scanned(tmp_path: Path, *options: str) -> str:
    done = CliRunner().invoke(app, ["scan", str(tmp_path / "a"), "--home", str(tmp_path / "home"), *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def told(tmp_path: Path, *options: str) -> str:
    return " ".join(scanned(tmp_path, *options).split())


def test_rows_that_fit_nothing_are_told_by_number_and_only_whole_images_count(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(3)))
    keep(tmp_path / "a", series(line(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), series="2")
    uid = derived_uid("test", "slice", "1", "1")
    (tmp_path / "labels.csv").write_text(f"sop_uid,label\n{uid},clear\n1.2.3,nodule\n")
    said = told(tmp_path, "--labels", str(tmp_path / "labels.csv"))
    assert "labels: 2 of 3 images have no row." in said
    assert "labels: row 3: no image of the archive has this sop_instance_uid." in said
    assert "1.2.3" not in said


def test_scans_that_make_no_volume_are_told(tmp_path: Path) -> None:
    keep(tmp_path / "a", series([*line(3), *line(3, start=90)]))
    assert "volumes in 0 of 1 series; 1: of a volume in which slices are missing" in told(tmp_path)


def test_files_that_are_left_out_can_be_found(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(2)), series="1")
    (tmp_path / "a" / "notes.txt").write_text("not DICOM")
    with zipfile.ZipFile(tmp_path / "a" / "more.zip", "w") as packed:
        packed.write(tmp_path / "a" / "1-001.dcm", "again.dcm")
        packed.writestr("\udcff.txt".encode("utf-8", "replace").decode(), "not DICOM either")
    lines = [json.loads(text) for text in scanned(tmp_path, "--files").splitlines()]
    assert {(one["path"], one["reason"]) for one in lines if not one["member"]} == {("notes.txt", "not_dicom")}
    assert {one["reason"] for one in lines if one["path"] == "more.zip"} == {"duplicate", "not_dicom"}
    assert all(one["advice"] for one in lines)


def test_findings_in_columns_of_their_own(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(3)))
    for there, absent in (("1", "0"), ("True", "False"), ("yes", "N")):
        (tmp_path / "labels.csv").write_text(f"patient_id,edema,nodule\nPAT-4711,{there},{absent}\n")
        said = told(tmp_path, "--labels", str(tmp_path / "labels.csv"), "--finding", "edema", "--finding", "nodule")
        assert "usable by label: edema 3" in said


def test_a_patient_number_under_two_issuers_is_told(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(2)), series="1")
    keep(tmp_path / "a", series(line(2)), series="2", IssuerOfPatientID="NORTH")
    assert "1 patient numbers stand under several issuers" in told(tmp_path)


def test_every_reason_comes_with_what_to_do(tmp_path: Path) -> None:
    keep(tmp_path / "a", series(line(2), BurnedInAnnotation="YES"), series="1")
    keep(tmp_path / "a", series(line(2)), series="2")
    said = told(tmp_path)
    assert "says that annotations are burned into the image" in said
    assert "Export without annotations" in said


def test_masks_say_which_series_they_fit(tmp_path: Path) -> None:
    images = ct(make_object)(affine(), 3)
    (tmp_path / "masks").mkdir()
    written(images, np.ones((3, ROWS, COLUMNS), np.uint8)).save_as(tmp_path / "masks" / "a.dcm")
    keep(tmp_path / "a", series(line(3)), series="2")
    assert "masks: 0 of 1 files fit a series" in told(tmp_path, "--masks", str(tmp_path / "masks"))
    for number, dataset in enumerate(images):
        write_object(tmp_path / "a" / f"drawn-on-{number}.dcm", dataset)
    assert "masks: 1 of 1 files fit a series of the archive (A 1)" in told(tmp_path, "--masks", str(tmp_path / "masks"))
