from pathlib import Path

import pytest

from client.dicom.keys import short_key
from client.dicom.labels.table import read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Entry
from shared.errors import InputError

KEY = b"k" * 32
ENTRY = Entry(
    file=b"f",
    size=1,
    mtime_ns=1,
    inode=1,
    sop=short_key(KEY, "sop", b"1.1"),
    series=short_key(KEY, "series", b"1.2"),
    study=short_key(KEY, "study", b"1.3"),
    accession=short_key(KEY, "accession", b"A1"),
    bare_patient=short_key(KEY, "bare-patient", b"P1"),
)


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sop_instance_uid", "1.1"),
        ("SOPInstanceUID", "1.1"),
        ("series_instance_uid", "1.2"),
        ("SeriesInstanceUID", "1.2"),
        ("StudyInstanceUID", " 1.3 "),
        ("Accession_Number", "A1"),
        ("PatientID", "P1"),
    ],
)
def test_every_identifier_joins(tmp_path: Path, column: str, value: str) -> None:
    labels = read_labels(table(tmp_path, f"{column},label\n{value},yes\n"), KEY)
    assert labels.of(ENTRY) == "yes"


def test_the_most_specific_row_wins(tmp_path: Path) -> None:
    text = "patient_id,study_instance_uid,sop_instance_uid,label\nP1,,,patient\nP1,1.3,,study\nP1,1.3,1.1,image\n"
    assert read_labels(table(tmp_path, text), KEY).of(ENTRY) == "image"
    assert read_labels(table(tmp_path, text.rpartition("P1,1.3,1.1")[0]), KEY).of(ENTRY) == "study"


def test_rows_that_contradict_each_other_are_a_conflict(tmp_path: Path) -> None:
    path = table(tmp_path, "patient_id,label\nP1,yes\nP1,no\nP1,yes\n")
    assert read_labels(path, KEY).of(ENTRY) is Reason.LABEL_CONFLICT
    path = table(tmp_path, "patient_id,label\nP1,yes\nP1,yes\n")
    assert read_labels(path, KEY).of(ENTRY) == "yes"


def test_no_row_is_no_label(tmp_path: Path) -> None:
    assert read_labels(table(tmp_path, "patient_id,label\nP2,yes\n"), KEY).of(ENTRY) is Reason.NO_LABEL


def test_semicolons_byte_order_mark_and_another_label_column(tmp_path: Path) -> None:
    path = table(tmp_path, "Patient;Befund\r\nP1;ja\r\n", "utf-8-sig")
    assert read_labels(path, KEY, column="befund").of(ENTRY) == "ja"


def test_hashes_only(tmp_path: Path) -> None:
    labels = read_labels(table(tmp_path, "patient_id,label\nP1,yes\n"), KEY)
    assert "P1" not in repr(labels.levels)
    assert read_labels(table(tmp_path, "patient_id,label\nP1,yes\n"), b"x" * 32).of(ENTRY) is Reason.NO_LABEL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header line"),
        ("label\nyes\n", "columns label"),
        ("patient_id,diagnosis\nP1,yes\n", "a column 'label'"),
        ("patient_id,label\n", "got none"),
        ("patient_id,label\nP1,\n", "got none"),
        ('patient_id,label\n"P1,yes\n', "Error"),
    ],
)
def test_what_is_wrong_is_said_without_identities(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(table(tmp_path, text), KEY)
    assert said in str(caught.value)
    assert "P1" not in str(caught.value)


def test_a_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_labels(tmp_path / "none.csv", KEY)
    with pytest.raises(InputError, match="UTF-8"):
        read_labels(table(tmp_path, "patient_id,label\nMüller,ja\n", "latin-1"), KEY)
