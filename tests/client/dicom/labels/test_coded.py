"""Reports are written by highdicom, an independent implementation, and read by ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from client.dicom.labels.labels import Remark
from client.dicom.labels.report import read_reports
from client.dicom.scanning.entry import Entry
from tests.client.dicom.labels.reports import (
    ABSENT,
    CONTAINS,
    EDEMA,
    FINDING,
    FINDINGS,
    KEY,
    NOTHING,
    PNEUMONIA,
    PRESENCE,
    PROPERTIES,
    basic,
    container,
    entries_of,
    found,
    group,
    item,
    measured,
    pictures,
    report_writer,
    uid,
)


@pytest.fixture
def images(make: Callable[..., Dataset]) -> dict[str, Dataset]:
    return pictures(make)


@pytest.fixture
def entries(entry_of: Callable[..., Entry]) -> dict[str, Entry]:
    return entries_of(entry_of)


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Dataset]:
    return report_writer(tmp_path)


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
    report("two", measured(group(images["a"])), images["a"])
    assert found(tmp_path, entries, several=True)["a"] == ("Pneumonia",)
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


def lesion(*children: Any) -> Any:
    """A measurement group (TID 1410) with a finding and `children`."""
    return container(
        Code("125007", "DCM", "Measurement Group"), item(CONTAINS, FINDING, EDEMA), *children, relation=CONTAINS
    )


def test_images_that_were_measured(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    length = hd.sr.NumContentItem(
        Code("410668003", "SCT", "Length"), 7.0, Code("mm", "UCUM", "millimeter"), relationship_type=CONTAINS
    )
    inferred = hd.sr.RelationshipTypeValues.INFERRED_FROM
    source = hd.sr.ImageContentItem(
        Code("121112", "DCM", "Source of Measurement"),
        images["b"].SOPClassUID,
        images["b"].SOPInstanceUID,
        relationship_type=inferred,
    )
    length.ContentSequence = hd.sr.ContentSequence([source])
    report("one", basic(lesion(length)), images["a"], images["b"])
    assert found(tmp_path, entries) == NOTHING | {"b": ("Pulmonary edema",)}


def test_a_segment_stands_for_the_series_it_was_drawn_on(
    tmp_path: Path, report: Any, images: dict[str, Dataset], entries: dict[str, Entry]
) -> None:
    segment = hd.sr.ImageContentItem(
        Code("121191", "DCM", "Referenced Segment"),
        "1.2.840.10008.5.1.4.1.1.66.4",
        uid("d"),
        relationship_type=CONTAINS,
    )
    series = hd.sr.UIDRefContentItem(
        Code("121232", "DCM", "Source series for segmentation"), uid("s1"), relationship_type=CONTAINS
    )
    report("one", basic(lesion(segment, series)), images["c"], images["d"])
    assert found(tmp_path, entries) == NOTHING | {"a": ("Pulmonary edema",), "b": ("Pulmonary edema",)}
