"""A small archive of real objects, assessed: through the scan, the label file, the decoders and their processes."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from client.dicom.item import Location, Part
from client.dicom.labels.labels import Labels
from client.dicom.labels.table import read_labels
from client.dicom.quality.html import render
from client.dicom.quality.looking import plane_of
from client.dicom.quality.report import QualityReport, assess
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.containers import stamp
from client.dicom.scanning.refresh import refresh
from client.dicom.writing import derived_uid, write_object
from shared.errors import InputError
from tests.client.dicom.conftest import Write, make_object

KEY = b"k" * 32
PATIENTS = 24


def pixels(number: int, *, border: bool = False, line: str = "") -> Any:
    """64 × 96 of 8 bits: a blob and grain, with a white border or a line of text."""
    grey = np.random.default_rng(number).integers(20, 60, (64, 96)).astype(np.uint8)
    grey[20:40, 30 : 50 + number % 20] += 80
    if border:
        grey[:4], grey[-4:] = 255, 255
    if line:
        picture = Image.fromarray(grey)
        ImageDraw.Draw(picture).text((4, 6), line, fill=255, font=ImageFont.load_default(11))
        grey = np.asarray(picture)
    return grey


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half the patients have a finding, a white border and another maker; some files have what is wrong in archives."""
    folder = tmp_path_factory.mktemp("hospital") / "archive"
    (folder / "Muster_Erika").mkdir(parents=True)
    rows = []
    for number in range(PATIENTS):
        finding = number % 2 == 1
        line = "ERIKA 1961" if number == 4 else ""
        picture = pixels(6) if number == 8 else pixels(number, border=finding, line=line)
        written(
            folder / f"Muster_Erika/{number}.dcm",
            number,
            picture,
            PatientID=f"PAT-{number}",
            SeriesInstanceUID=derived_uid("test", "series", str(number)),
            Manufacturer="Acme" if finding else "Bee",
            StudyDate=f"20{10 + number % 3}0101",
            PresentationIntentType="FOR PROCESSING" if number == 3 else "FOR PRESENTATION",
        )
        rows.append((derived_uid("test", "image", str(number)), "nodule" if finding else "clear"))
    written(folder / "flat.dcm", 90, np.full((64, 96), 7, np.uint8), PatientID="PAT-90")
    written(folder / "nobody.dcm", 91, pixels(91), PatientID="")
    written(folder / "broken.dcm", 92, pixels(92), JPEG2000Lossless, PatientID="PAT-92")
    codestream = (folder / "broken.dcm").read_bytes()
    (folder / "broken.dcm").write_bytes(codestream.replace(b"\xff\x4f\xff\x51", b"\0\0\0\0"))  # SOC and SIZ
    (folder / "notes.txt").write_text("no image of PAT-4711")
    rows += [(derived_uid("test", "image", str(number)), "clear") for number in (90, 92)]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sop_instance_uid", "label"), *rows])
    return folder


def written(path: Path, number: int, picture: Any, syntax: UID = ExplicitVRLittleEndian, **values: object) -> None:
    """A file with `values` beside `picture`."""
    dataset = make_object(picture, SOPInstanceUID=derived_uid("test", "image", str(number)), **values)
    write_object(path, dataset, syntax)


def assessed(archive: Path, labels: Labels | None = None, **options: Any) -> QualityReport:
    with Catalog.of(archive, archive.parent / "home") as catalog:
        refresh(archive, catalog, key=KEY, ignore=archive / "labels.csv")
        return assess(archive, catalog, key=KEY, labels=labels, **options)


@pytest.fixture(scope="module")
def report(archive: Path) -> QualityReport:
    return assessed(archive, read_labels(archive / "labels.csv", KEY))


def test_all_files_are_counted_and_what_is_wrong_is_found(report: QualityReport) -> None:
    counts, own = report.counts, report.suspects
    assert (counts.files, counts.usable, counts.patients) == (PATIENTS + 4, PATIENTS + 2, PATIENTS + 2)
    assert counts.left_out == {Reason.NOT_DICOM: 1, Reason.NO_LABEL: 1}
    assert counts.by_label == {"clear": 14, "nodule": 12}
    assert counts.by_manufacturer == {"Acme": 12, "Bee": 12, "Tester": 2}
    assert counts.by_year == {"": 2, "2010": 8, "2011": 8, "2012": 8}
    assert counts.raw == {"DX": (1, 25)}
    assert (own.looked, own.failed) == (PATIENTS + 1, {Reason.DECODE_FAILED: 1})
    assert (own.text, own.constant) == ({"DX": 1}, 1)
    assert (own.copies, own.copied, own.contradictions) == (2, 1, 0)
    assert [one.modality for one in report.intensities] == ["DX"]
    assert report.intensities[0].images == PATIENTS + 1


def test_the_border_and_the_maker_are_found_to_tell_the_label(report: QualityReport) -> None:
    warned = {one.attribute: one.strength for one in report.shortcuts if one.warning}
    assert warned["white border"] > 0.95
    assert warned["manufacturer"] > 0.8
    assert "body part" not in warned
    assert {one.label for one in report.shortcuts} == {"nodule"}


def test_without_labels_nothing_is_said_of_them_and_progress_is_told(archive: Path) -> None:
    told: list[tuple[int, int]] = []
    found = assessed(archive, progress=lambda *step: told.append(step))
    assert (found.labelled, found.shortcuts, found.observed) == (False, (), 0)
    assert found.counts.orphans == 1
    assert told == [(done, 27) for done in range(1, 28)]


def test_the_same_archive_gives_the_same_report(archive: Path, report: QualityReport) -> None:
    assert assessed(archive, read_labels(archive / "labels.csv", KEY)) == report
    assert render(report) == render(report)


def test_a_label_file_of_another_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    table = tmp_path / "other.csv"
    table.write_text("patient_id,label\nsomebody,clear\n")
    with pytest.raises(InputError, match="none matches"):
        assessed(archive, read_labels(table, KEY))


def test_nothing_in_the_report_or_its_page_names_anybody(archive: Path, report: QualityReport) -> None:
    """No path, name, identifier or hash of one, in the record, the page or what repr shows."""
    found = repr(report) + render(report)
    for name in ("Muster", "PAT-", "2.25.", ".dcm", str(archive), "notes"):
        assert name not in found
    with Catalog.of(archive, archive.parent / "home") as catalog:
        for entry in catalog.entries():
            for hashed in (entry.file, entry.sop, entry.series, entry.study, entry.patient):
                assert not hashed or (hashed.hex() not in found and repr(hashed) not in found)


def test_changed_and_vanished_files_are_left_out_of_the_sample(write: Write) -> None:
    path = write("one.dcm", 1, pixels(1))
    place = Location(path)
    known = Part(place, stamp(place))
    assert plane_of(known).shown.shape == (64, 96)
    with pytest.raises(LeftOutError) as caught:
        plane_of(Part(place, (1, 2, 3)))
    assert caught.value.reason == Reason.CHANGED
    path.unlink()
    with pytest.raises(LeftOutError) as caught:
        plane_of(known)
    assert caught.value.reason == Reason.UNREADABLE
