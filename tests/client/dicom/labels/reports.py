"""Structured reports for the tests, written by highdicom, an independent implementation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

from client.dicom.labels.report import Reading, read_reports
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from client.dicom.writing import derived_uid, write_object

KEY = b"k" * 32
Make = Callable[..., Dataset]
PNEUMONIA = Code("233604007", "SCT", "Pneumonia")
EDEMA = Code("19242006", "SCT", "Pulmonary edema")
ABSENT = Code("272519000", "SCT", "Absent")
FINDING, PRESENCE = Code("121071", "DCM", "Finding"), Code("705057003", "SCT", "Presence")
CASES = [("a", "s1", "t1"), ("b", "s1", "t1"), ("c", "s2", "t1"), ("d", "s3", "t2")]


def pictures(make: Make) -> dict[str, Dataset]:
    """a and b of one series, c of another of the same study, d of another study."""
    found = {}
    for name, series, study in CASES:
        image = make(SOPInstanceUID=uid(name), SeriesInstanceUID=uid(series), StudyInstanceUID=uid(study))
        image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = None
        image.PatientBirthDate = image.PatientSex = None
        found[name] = image
    return found


def entries_of(entry_of: Callable[..., Entry]) -> dict[str, Entry]:
    """The same images as the catalog has them."""
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


def report_writer(tmp_path: Path) -> Callable[..., Dataset]:
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
