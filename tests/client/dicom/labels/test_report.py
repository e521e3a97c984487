"""Reports are written by highdicom, an independent implementation, and read by ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from client.dicom.labels import content
from client.dicom.labels.labels import Remark
from client.dicom.labels.report import Reading, read_reports
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.writing import derived_uid, write_object
from shared.errors import InputError

KEY = b"k" * 32
Make = Callable[..., Dataset]
PNEUMONIA = Code("233604007", "SCT", "Pneumonia")
EDEMA = Code("19242006", "SCT", "Pulmonary edema")
ABSENT = Code("272519000", "SCT", "Absent")
FINDING, PRESENCE = Code("121071", "DCM", "Finding"), Code("705057003", "SCT", "Presence")
CASES = [("a", "s1", "t1"), ("b", "s1", "t1"), ("c", "s2", "t1"), ("d", "s3", "t2")]


@pytest.fixture
def images(make: Make) -> dict[str, Dataset]:
    """a and b of one series, c of another of the same study, d of another study."""
    found = {}
    for name, series, study in CASES:
        image = make(SOPInstanceUID=uid(name), SeriesInstanceUID=uid(series), StudyInstanceUID=uid(study))
        image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = None
        image.PatientBirthDate = image.PatientSex = None
        found[name] = image
    return found


@pytest.fixture
def entries(entry_of: Callable[..., Entry]) -> dict[str, Entry]:
    return {name: entry_of(uid(name), uid(series), uid(study)) for name, series, study in CASES}


def uid(name: str) -> str:
    return derived_uid("test", name)


def group(*images: Dataset, finding: Code = PNEUMONIA, **values: Any) -> Any:
    """A measurement group of TID 1501 with `finding` on `images`."""
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid("tracking"), "lesion"),
        finding_type=finding,
        source_images=[hd.sr.SourceImageForMeasurementGroup(i.SOPClassUID, i.SOPInstanceUID) for i in images],
        **values,
    )


def measured(*groups: Any) -> Sequence:
    """A measurement report (TID 1500)."""
    observer = hd.sr.ObserverContext(codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes("Reader^Only"))
    context = hd.sr.ObservationContext(observer_person_context=observer)
    return Sequence(
        hd.sr.MeasurementReport(
            observation_context=context,
            procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
            imaging_measurements=groups,
        )
    )


def item(relation: Any, name: Code, value: Code, *children: Any) -> Any:
    made = hd.sr.CodeContentItem(name=name, value=value, relationship_type=relation)
    if children:
        made.ContentSequence = hd.sr.ContentSequence(children)
    return made


def container(name: Code, *children: Any, relation: Any = None) -> Any:
    made = hd.sr.ContainerContentItem(name=name, is_content_continuous=False, relationship_type=relation)
    made.ContentSequence = hd.sr.ContentSequence(children)
    return made


def basic(*children: Any) -> Any:
    """A report of headings (TID 2000)."""
    return container(Code("18748-4", "LN", "Diagnostic imaging report"), *children)


CONTAINS, PROPERTIES = hd.sr.RelationshipTypeValues.CONTAINS, hd.sr.RelationshipTypeValues.HAS_PROPERTIES
FINDINGS = Code("121070", "DCM", "Findings")


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Dataset]:
    """Writes a verified report on `evidence` into tmp_path / "reports"."""

    def write(name: str, contents: Any, *evidence: Dataset, syntax: str = ExplicitVRLittleEndian, **values: Any) -> Any:
        recorded = values.pop("evidence", True)
        signed: Any = {"is_verified": True, "verifying_observer_name": "V^", "verifying_organization": "O"}
        made = hd.sr.ComprehensiveSR(
            evidence=evidence,
            content=contents[0] if isinstance(contents, Sequence) else contents,
            series_instance_uid=uid("sr-series"),
            series_number=1,
            sop_instance_uid=uid(f"sr-{name}"),
            instance_number=1,
            manufacturer="Tester",
            is_complete=True,
            is_final=values.pop("is_final", True),
            **(signed if values.pop("verified", True) else {}),
            **values,
        )
        if not recorded:
            del made.CurrentRequestedProcedureEvidenceSequence
        folder = tmp_path / "reports"
        folder.mkdir(exist_ok=True)
        write_object(folder / f"{name}.dcm", made)
        if syntax != ExplicitVRLittleEndian:
            made.file_meta.TransferSyntaxUID = UID(syntax)
            made.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        return made

    return write


def found(tmp_path: Path, entries: dict[str, Entry], **values: Any) -> dict[str, Any]:
    labels = read_reports(tmp_path / "reports", KEY, Reading(**values))
    return {name: labels.of(entry) for name, entry in entries.items()}


NOTHING = dict.fromkeys("abcd", Reason.NO_LABEL)


def test_a_finding_speaks_for_the_images_of_its_group(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    groups = group(images["a"]), group(images["a"], images["c"], finding=EDEMA)
    report("one", measured(*groups), *(images[name] for name in "abc"))
    both = ("Pneumonia", "Pulmonary edema")
    assert found(tmp_path, entries) == NOTHING | {"a": both, "c": ("Pulmonary edema",)}
    assert found(tmp_path, entries, spelling="code")["a"] == ("SCT 19242006", "SCT 233604007")
    assert found(tmp_path, entries, scope="series") == NOTHING | {"a": both, "b": both, "c": ("Pulmonary edema",)}
    assert found(tmp_path, entries, scope="study") == NOTHING | dict.fromkeys("abc", both)


def test_a_region_drawn_on_an_image(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    source = hd.sr.SourceImageForRegion(images["b"].SOPClassUID, images["b"].SOPInstanceUID)
    region = hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POINT, np.array([[1.0, 2.0]]), source)
    made = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid("tracking"), "lesion"),
        referenced_region=region,
        finding_type=EDEMA,
    )
    report("one", measured(made), images["a"], images["b"])
    assert found(tmp_path, entries) == NOTHING | {"b": ("Pulmonary edema",)}


def test_a_finding_that_refers_to_nothing_speaks_for_the_evidence(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    contents = basic(container(FINDINGS, item(CONTAINS, FINDING, PNEUMONIA), relation=CONTAINS))
    report("one", contents, images["a"], images["c"])
    assert found(tmp_path, entries) == NOTHING | {"a": ("Pneumonia",), "c": ("Pneumonia",)}


def test_without_evidence_it_speaks_for_the_study(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", basic(item(CONTAINS, FINDING, PNEUMONIA)), images["a"], evidence=False)
    assert found(tmp_path, entries) == NOTHING | dict.fromkeys("abc", ("Pneumonia",))


def test_references_of_the_finding_go_before_those_of_its_section(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    def shown(name: str, relation: Any) -> Any:
        image = images[name]
        purpose = Code("121112", "DCM", "Source of Measurement")
        return hd.sr.ImageContentItem(purpose, image.SOPClassUID, image.SOPInstanceUID, relationship_type=relation)

    inferred = hd.sr.RelationshipTypeValues.INFERRED_FROM
    section = container(
        FINDINGS,
        item(CONTAINS, FINDING, PNEUMONIA, shown("a", inferred)),
        item(CONTAINS, FINDING, EDEMA),
        shown("b", CONTAINS),
        relation=CONTAINS,
    )
    report("one", basic(section), *(images[name] for name in "abc"))
    assert found(tmp_path, entries) == NOTHING | {"a": ("Pneumonia",), "b": ("Pulmonary edema",)}


def test_negated_findings_are_none(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    contents = basic(
        item(CONTAINS, FINDING, PNEUMONIA, item(PROPERTIES, PRESENCE, ABSENT)),
        item(CONTAINS, FINDING, EDEMA),
        item(CONTAINS, FINDING, Code("R-4089B", "SRT", "Absent")),
    )
    report("one", contents, images["a"])
    asked = hd.sr.QualitativeEvaluation(PRESENCE, ABSENT)
    report("two", measured(group(images["d"], qualitative_evaluations=[asked])), images["d"])
    assert found(tmp_path, entries) == NOTHING | {"a": ("Pulmonary edema",), "d": ()}


def test_an_answer_about_something_else_negates_nothing(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    asked = hd.sr.QualitativeEvaluation(Code("129748008", "SCT", "Calcification"), ABSENT)
    report("one", measured(group(images["a"], qualitative_evaluations=[asked])), images["a"])
    assert found(tmp_path, entries)["a"] == ("Pneumonia",)


def test_what_is_there_in_one_place_and_not_in_another_is_there(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    asked = hd.sr.QualitativeEvaluation(PRESENCE, ABSENT)
    groups = group(images["a"], qualitative_evaluations=[asked]), group(images["a"])
    report("one", measured(*groups), images["a"])
    assert found(tmp_path, entries)["a"] == ("Pneumonia",)


def test_text_and_findings_of_earlier_examinations_are_no_labels(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    contents = basic(
        hd.sr.TextContentItem(FINDING, "Pneumonia on the left", relationship_type=CONTAINS),
        item(CONTAINS, Code("121069", "DCM", "Previous Finding"), EDEMA),
    )
    report("one", contents, images["a"])
    assert found(tmp_path, entries) == NOTHING
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.NO_CODE: (1,)}


def test_unverified_reports_count_only_if_asked_for(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", measured(group(images["a"])), images["a"], verified=False)
    report("two", measured(group(images["b"])), images["b"], is_final=False)
    report("zero", measured(group(images["c"])), images["c"])
    assert found(tmp_path, entries) == NOTHING | {"c": ("Pneumonia",)}
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.UNVERIFIED: (1, 2)}
    assert found(tmp_path, entries, unverified=True) == NOTHING | dict.fromkeys("abc", ("Pneumonia",))


def test_a_later_version_replaces_the_earlier(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    first = report("first", measured(group(images["a"])), images["a"])
    report("again", measured(group(images["a"], finding=EDEMA)), images["a"], previous_versions=[first])
    assert found(tmp_path, entries)["a"] == ("Pulmonary edema",)
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.SUPERSEDED: (2,)}


def test_reports_that_differ_are_a_conflict_or_add_up(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", measured(group(images["a"])), images["a"])
    report("two", measured(group(images["a"], finding=EDEMA)), images["a"])
    assert found(tmp_path, entries)["a"] is Reason.LABEL_CONFLICT
    assert found(tmp_path, entries, several=True)["a"] == ("Pneumonia", "Pulmonary edema")


def test_deflated_reports_and_other_files(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    report("one", measured(group(images["a"])), images["a"], syntax=DeflatedExplicitVRLittleEndian)
    write_object(tmp_path / "reports" / "image.dcm", images["a"])
    (tmp_path / "reports" / "notes.txt").write_text("Pneumonia")
    labels = read_reports(tmp_path / "reports", KEY)
    assert (labels.of(entries["a"]), labels.remarks) == (("Pneumonia",), {})
    assert uid("a") not in repr(labels)


def test_a_tree_without_end_is_unreadable(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    deep = item(CONTAINS, FINDING, PNEUMONIA)
    for _ in range(content.DEPTH):
        deep = container(FINDINGS, deep, relation=CONTAINS)
    report("deep", basic(deep), images["a"])
    report("good", measured(group(images["b"])), images["b"])
    assert found(tmp_path, entries) == NOTHING | {"b": ("Pneumonia",)}
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.UNREADABLE: (1,)}


def test_a_tree_of_too_many_items_is_unreadable(
    tmp_path: Path, report: Any, images: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "ITEMS", 3)
    report("wide", basic(*(item(CONTAINS, FINDING, PNEUMONIA) for _ in range(3))), images["a"])
    assert read_reports(tmp_path / "reports", KEY).remarks == {Remark.UNREADABLE: (1,)}


@pytest.mark.parametrize("cut", [200, 900, -40])
def test_a_cut_report_says_nothing_wrong(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry], cut: int
) -> None:
    report("one", measured(group(images["a"])), images["a"])
    path = tmp_path / "reports" / "one.dcm"
    path.write_bytes(path.read_bytes()[:cut])
    assert found(tmp_path, entries)["b"] is Reason.NO_LABEL


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected DICOM structured reports, got none"):
        read_reports(tmp_path, KEY)
