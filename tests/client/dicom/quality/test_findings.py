"""What is said of a report, and that nothing is said without cause."""

from dataclasses import replace

from client.dicom.quality.findings import Finding, findings
from client.dicom.quality.report import QualityReport
from client.dicom.reasons import Reason
from client.dicom.series import Scans
from shared.text import GAP


def texts(report: QualityReport, level: str) -> list[str]:
    return [one.text.replace(GAP, " ") for one in findings(report) if one.level == level]


def test_an_archive_in_order_is_said_to_be(good: QualityReport) -> None:
    assert findings(good) == (Finding("good", "Nothing looks wrong in what was counted and looked at."),)


def test_everything_wrong_is_said_the_bad_first(bad: QualityReport) -> None:
    found = findings(bad)
    assert [one.level for one in found] == sorted((one.level for one in found), key=["bad", "note", "good"].index)
    problems = texts(bad, "bad")
    assert problems[0] == "Writing seems to be burned into 9 of 390 images (2.3 %) of the sample."
    assert problems[1] == (
        "5 of 390 images (1.3 %) of the sample have another patient's pixels, with other labels in 1 of 2 cases."
    )
    assert problems[2] == "2 of 400 images (0.5 %) of the sample seem to be shown negative."
    assert problems[3].endswith("from the white border (AUC 0.97), or the manufacturer (V 0.80) alone.")
    assert len(problems) == 4, "one finding per label, and none for an attribute that tells little"
    notes = texts(bad, "note")
    assert notes[0] == "1,010 of 2,000 files (50.5 %) cannot be used."
    assert notes[1].startswith("MG: 12 images for processing beside 30 for presentation.")
    assert notes[2] == "3 of 990 usable images (0.3 %) name no patient: each DICOM study counts as one."
    assert notes[3].startswith("Only 2 of 400 patients have the label")
    assert [note.split("sample ")[1] for note in notes[4:]] == [
        "have one value only.",
        "have more than a tenth of their pixels at the highest value.",
        "lose nine tenths of their pixels to black or white by their own window.",
        "could not be decoded.",
    ]


def test_an_archive_without_a_usable_file_is_a_problem(good: QualityReport) -> None:
    empty = replace(good, counts=replace(good.counts, usable=0, by_label={}, patients_by_label={}))
    assert texts(empty, "bad") == ["No file of the archive can be used."]


def test_of_labels_nothing_is_said_without_a_label_file(good: QualityReport) -> None:
    few = replace(good, counts=replace(good.counts, patients_by_label={"nodule": 2}))
    assert texts(few, "note") == ["Only 2 of 400 patients have the label “nodule”."]
    assert texts(replace(few, labelled=False), "note") == []


def test_no_finding_names_a_hash(bad: QualityReport) -> None:
    assert not any("b'" in one.text for one in findings(bad))


def test_scans_that_make_no_volume_are_a_problem_where_none_does(good: QualityReport) -> None:
    gaps = replace(good, scans=Scans(0, {Reason.MISSING_SLICES: 5, Reason.NO_GEOMETRY: 1}))
    (problem,) = findings(gaps)
    assert problem.level == "bad"
    assert problem.text.replace(GAP, " ").startswith("6 of 6 scans (100.0 %) make no volume: ")
    assert f"{Reason.MISSING_SLICES.explain} (5)" in problem.text
    assert problem.do.startswith(Reason.MISSING_SLICES.advice)
    (note,) = findings(replace(good, scans=Scans(9, {Reason.MISSING_SLICES: 1})))
    assert (note.level, note.text.replace(GAP, " ")[:24]) == ("note", "1 of 10 scans (10.0 %) m")
