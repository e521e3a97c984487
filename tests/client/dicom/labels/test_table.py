from collections.abc import Callable
from pathlib import Path

import pytest

from client.dicom.labels.findings import choose
from client.dicom.labels.labels import Remark
from client.dicom.labels.table import Layout, read_labels
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from shared.errors import InputError

KEY = b"k" * 32
WriteTable = Callable[..., Path]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sop_instance_uid", "1.1"),
        ("SOPInstanceUID", "1.1"),
        ("SOP Instance UID", "1.1"),
        ("file", "a/1.1.dcm"),
        ("File Name", "./a//1.1.dcm"),
        ("path", "a\\1.1.dcm"),
        ("series_instance_uid", "1.2"),
        ("SeriesInstanceUID", "1.2"),
        ("StudyInstanceUID", " 1.3 "),
        ("Accession_Number", "A1"),
        ("PatientID", "P1"),
        ("patient-id", "P1"),
    ],
)
def test_every_identifier_joins(table: WriteTable, entry: Entry, column: str, value: str) -> None:
    assert read_labels(table(f"{column},label\n{value},yes\n"), KEY).of(entry) == ("yes",)


def test_a_path_that_climbs_names_no_other_file(table: WriteTable, entry: Entry) -> None:
    assert read_labels(table("file,label\nb/../a/1.1.dcm,yes\n"), KEY).of(entry) is Reason.NO_LABEL


def test_the_most_specific_row_wins(table: WriteTable, entry: Entry) -> None:
    text = "patient_id,study_instance_uid,sop_instance_uid,label\nP1,,,patient\nP1,1.3,,study\nP1,1.3,1.1,image\n"
    assert read_labels(table(text), KEY).of(entry) == ("image",)
    assert read_labels(table(text.rpartition("P1,1.3,1.1")[0]), KEY).of(entry) == ("study",)


def test_rows_that_contradict_each_other_are_a_conflict(table: WriteTable, entry: Entry) -> None:
    assert read_labels(table("patient_id,label\nP1,yes\nP1,no\nP1,yes\n"), KEY).of(entry) is Reason.LABEL_CONFLICT
    assert read_labels(table("patient_id,label\nP1,yes\nP1,yes\n"), KEY).of(entry) == ("yes",)


def test_rows_add_up_only_where_that_is_declared(table: WriteTable, entry: Entry) -> None:
    path = table("patient_id,label\nP1,edema\nP1,pneumonia\n")
    assert read_labels(path, KEY).of(entry) is Reason.LABEL_CONFLICT
    assert read_labels(path, KEY, Layout(several=True)).of(entry) == ("edema", "pneumonia")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_several_findings_in_one_cell_whatever_the_delimiter(table: WriteTable, entry: Entry, delimiter: str) -> None:
    path = table(f"patient_id{delimiter}label\nP1{delimiter}pneumonia| edema ||pneumonia\n")
    assert read_labels(path, KEY).of(entry) == ("edema", "pneumonia")


FINDINGS = Layout(findings=("Edema", "pneumonia", "fracture", "not in the table"))
COLUMNS = "patient_id,edema,Pneumonia,fracture,age\n"


@pytest.mark.parametrize(
    ("cells", "about", "expected"),
    [
        ("1,0,,70", (), ("Edema",)),
        ("1.0,1,0.0,70", (), ("Edema", "pneumonia")),
        ("0,0,0,70", (), ()),
        ("1,-1,,70", (), ("Edema",)),
        ("1,-1,,70", ("Edema", "fracture"), ("Edema",)),
        ("1,-1,,70", ("Edema", "pneumonia"), Reason.NO_LABEL),
        ("-1.0,,,70", (), Reason.NO_LABEL),
        ("1,perhaps,,70", ("pneumonia",), Reason.NO_LABEL),
    ],
)
def test_a_column_for_each_finding(
    table: WriteTable, entry: Entry, cells: str, about: tuple[str, ...], expected: object
) -> None:
    assert read_labels(table(f"{COLUMNS}P1,{cells}\n"), KEY, FINDINGS).of(entry, about) == expected


@pytest.mark.parametrize(("uncertain", "expected"), [("present", ("Edema", "pneumonia")), ("absent", ("Edema",))])
def test_what_uncertain_says_can_be_chosen(
    table: WriteTable, entry: Entry, uncertain: str, expected: tuple[str, ...]
) -> None:
    layout = Layout(findings=FINDINGS.findings, uncertain=uncertain)  # type: ignore[arg-type]
    assert read_labels(table(f"{COLUMNS}P1,1,-1,0,70\n"), KEY, layout).of(entry, ("pneumonia",)) == expected


def test_a_zero_can_be_a_finding_of_its_own(table: WriteTable, entry: Entry) -> None:
    labels = read_labels(table("patient_id,pneumonia\nP1,0\n"), KEY, Layout(findings=("pneumonia",), absent="no "))
    assert choose(labels.of(entry), ("no pneumonia", "pneumonia")) == "no pneumonia"


def test_one_row_for_each_finding_and_a_contradiction_among_them(table: WriteTable, entry: Entry) -> None:
    layout = Layout(findings=FINDINGS.findings, several=True)
    text = f"{COLUMNS}P1,1,,,70\nP1,,1,,70\n"
    assert read_labels(table(text), KEY, layout).of(entry) == ("Edema", "pneumonia")
    assert read_labels(table(f"{text}P1,0,,,70\n"), KEY, layout).of(entry) is Reason.LABEL_CONFLICT


def test_the_label_column_goes_before_columns_of_findings(table: WriteTable, entry: Entry) -> None:
    path = table("patient_id,label,pneumonia\nP1,clear,1\n")
    assert read_labels(path, KEY, Layout(findings=("clear", "pneumonia"))).of(entry) == ("clear",)


def test_no_row_is_no_label(table: WriteTable, entry: Entry) -> None:
    assert read_labels(table("patient_id,label\nP2,yes\n"), KEY).of(entry) is Reason.NO_LABEL


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", ["", "sep=;\r\n"])
def test_what_spreadsheets_write(table: WriteTable, entry: Entry, encoding: str, first: str) -> None:
    path = table(f'{first}Patient;"Befund, 1"\r\n"P1";"jä, und\r\nmehr"\r\n', encoding)
    assert read_labels(path, KEY, Layout(column="befund, 1")).of(entry) == ("jä, und\r\nmehr",)


def test_rows_are_numbered_as_a_spreadsheet_numbers_them(table: WriteTable) -> None:
    labels = read_labels(table("patient_id,edema\nP1,1\n\n,1\nP2,\nP3,maybe\n"), KEY, Layout(findings=("edema",)))
    assert labels.remarks == {Remark.SILENT: (4, 5), Remark.WRONG_VALUE: (6,)}
    assert labels.rows == 2


def test_hashes_only(table: WriteTable, entry: Entry) -> None:
    labels = read_labels(table("patient_id,label\nP1,yes\n"), KEY)
    assert "P1" not in repr(labels) + repr(labels.levels)
    assert read_labels(table("patient_id,label\nP1,yes\n"), b"x" * 32).of(entry) is Reason.NO_LABEL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header line"),
        ("label\nyes\n", "got 1 columns of other names"),
        ("patient_id,diagnosis\nP1,yes\n", "a column 'label' or a column for a finding (edema), got patient_id"),
        ("P1,yes\nP2,no\n", "got 2 columns of other names"),
        ("patient_id,label\n", "got none"),
        ("patient_id,label\nP1,\n", "got none"),
        ('patient_id,label\n"P1,yes\n', "Error"),
        ("patient_id,label\nP1,edema,mild\n", "row 2: expected at most 2 cells, as the header has columns, got 3"),
        ("patient_id,label,Label\nP1,a,b\n", "'label' twice"),
    ],
)
def test_what_is_wrong_is_said_without_identities(table: WriteTable, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(table(text), KEY, Layout(findings=("edema",)))
    assert said in str(caught.value)
    assert "P1" not in str(caught.value)


def test_empty_cells_beyond_the_header_do_no_harm(table: WriteTable, entry: Entry) -> None:
    assert read_labels(table("patient_id,label\nP1,yes,,\n"), KEY).of(entry) == ("yes",)


def test_a_missing_or_binary_file(tmp_path: Path, table: WriteTable) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_labels(tmp_path / "none.csv", KEY)
    with pytest.raises(InputError, match="UTF-8"):
        read_labels(table("patient_id,label\nMüller,ja\n", "latin-1"), KEY)
