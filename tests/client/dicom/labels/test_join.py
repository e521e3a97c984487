from collections.abc import Callable
from pathlib import Path

from client.dicom.labels.join import join
from client.dicom.labels.labels import Remark
from client.dicom.labels.table import Layout, read_labels
from client.dicom.scanning.entry import Entry

KEY = b"k" * 32
WriteTable = Callable[..., Path]


def test_every_row_and_image_is_accounted_for(table: WriteTable, entry_of: Callable[..., Entry]) -> None:
    text = (
        "sop_instance_uid,patient_id,edema\n"
        "1.1,P1,1\n"  # joins
        "7.7,P1,1\n"  # the image is not there
        ",P2,1\n"  # row 4 and 5 contradict each other
        ",P2,0\n"
        ",P9,1\n"  # nor is the patient
        "1.4,,x\n"  # a wrong value: the row speaks, unsure
        ",,1\n"  # no identifier
    )
    entries = [
        entry_of(sop="1.1", patient="P1"),
        entry_of(sop="1.2", patient="P2"),
        entry_of(sop="1.3", patient="P3"),
        entry_of(sop="1.4", patient="P4"),
    ]
    report = join(read_labels(table(text), KEY, Layout(findings=("edema",))), entries)
    assert (report.images, report.labelled, report.conflicting, report.unlabelled) == (4, 2, 1, 1)
    assert report.rows == 6
    assert report.unmatched == {"sop_instance_uid": (3,), "patient_id": (6,)}
    assert report.conflicts == (4, 5)
    assert report.remarks == {Remark.SILENT: (8,), Remark.WRONG_VALUE: (7,)}
    told = " ".join(report.sentences())
    assert "1 of 4 images have no row. row 3: no image of the archive has this sop_instance_uid." in told
    assert "rows 4, 5: contradict each other (1 images)." in told
    assert not any(identifier in told for identifier in ("7.7", "P2", "P9"))


def test_a_less_specific_row_that_is_never_needed_still_matches(
    table: WriteTable, entry_of: Callable[..., Entry]
) -> None:
    text = "sop_instance_uid,patient_id,label\n1.1,,yes\n,P1,no\n"
    report = join(read_labels(table(text), KEY), [entry_of()])
    assert (report.labelled, report.unmatched, report.sentences()) == (1, {}, ())


def test_long_lists_of_rows_are_cut(table: WriteTable) -> None:
    rows = "".join(f"P{number},yes\n" for number in range(12))
    (told,) = join(read_labels(table("patient_id,label\n" + rows), KEY), []).sentences()
    assert told == "rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more: no image of the archive has this patient_id."
