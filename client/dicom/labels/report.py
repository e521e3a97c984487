"""Labels from structured reports (Basic Text, Enhanced, Comprehensive, TID 1500): what radiologists coded.

Guarantees: only coded findings become labels, never free text; a finding coded as absent is none; a report that nobody
has verified, or that a later one replaces, says nothing unless asked for; reports that contradict each other make a
conflict. Identifiers are hashed as they are read.

A finding speaks for the images it refers to (its own references, those of its measurement group, or else of the
nearest container around it); one that refers to none, for the images of the report's evidence, or without
evidence for its study.

    read_reports(Path("reports"), key).of(entry)   # ("Pneumonia",)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset

from client.dicom.labels.coded import Target, statements_of
from client.dicom.labels.content import read_content
from client.dicom.labels.findings import Said
from client.dicom.labels.labels import Labels, Remark, Rows, Statement, gather
from client.dicom.labels.levels import identifier_key
from client.dicom.labels.objects import files_of, guarded, read_object, storage_class
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError, Reason
from shared.errors import InputError

#: Bytes of one report; they hold text.
REPORT_LIMIT = 1 << 24

#: Basic Text, Enhanced, Comprehensive, Comprehensive 3D and Extensible SR Storage (PS3.4 B.5).
REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (11, 22, 33, 34, 35))

#: SOP Instance UID → Series and Study Instance UID.
Evidence = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Reading:
    """How reports are read."""

    #: a label is the meaning of a finding's code ("Pneumonia"), or scheme and value ("SCT 233604007")
    spelling: Literal["meaning", "code"] = "meaning"
    #: what a reference to an image speaks for: that image, its series, or its study
    scope: Literal["image", "series", "study"] = "image"
    #: reports that are preliminary or not verified count too (0040,A493), (0040,A496)
    unverified: bool = False
    #: several reports on one image add up
    several: bool = False


@dataclass(frozen=True)
class _Report:
    """`replaces`: UIDs of earlier documents; `said`: of each target."""

    uid: str
    replaces: frozenset[str]
    verified: bool
    said: Mapping[Target, Said]


def read_reports(place: Path, key: bytes, reading: Reading | None = None) -> Labels:
    """What the reports in `place`, a folder, a zip or one file, say; other files there are passed over.

    Raises InputError if there is no report.
    """
    reading = reading or Reading()
    reports = _reports(place, reading)
    if not reports:
        do = "Point at a folder with structured reports, or at a CSV file."
        raise InputError(f"labels {place}", expected="DICOM structured reports", got="none", do=do)
    replaced = frozenset(uid for report in reports.values() if report for uid in report.replaces)
    remarks: dict[Remark, list[int]] = {}
    statements: list[Statement] = []
    for row, report in reports.items():
        remark = _against(report, replaced, reading)
        if remark:
            remarks.setdefault(remark, []).append(row)
        elif report:
            statements += _statements(row, report.said, key)
    told: dict[Remark, Rows] = {remark: tuple(rows) for remark, rows in remarks.items()}
    return gather(place, statements, several=reading.several, remarks=told)


def _reports(place: Path, reading: Reading) -> dict[int, _Report | None]:
    """The reports in `place` by number; None for objects that cannot be read, as they may have been reports."""
    reports: dict[int, _Report | None] = {}
    for row, location in enumerate(files_of(place), start=1):
        try:
            if storage_class(location) in REPORTS:
                reports[row] = _report(read_object(location, REPORT_LIMIT), reading)
        except LeftOutError as left_out:
            if left_out.reason != Reason.NOT_DICOM:
                reports[row] = None
    return reports


def _against(report: _Report | None, replaced: frozenset[str], reading: Reading) -> Remark | None:
    """Why nothing `report` says counts, or None."""
    if report is None:
        return Remark.UNREADABLE
    if report.uid in replaced:
        return Remark.SUPERSEDED
    if not report.verified and not reading.unverified:
        return Remark.UNVERIFIED
    return None if report.said else Remark.NO_CODE


def _report(dataset: Dataset, reading: Reading) -> _Report:
    """What is needed of one report (PS3.3 C.17.2). Raises LeftOutError(unreadable)."""
    with guarded():
        final = dataset.get("PreliminaryFlag") != "PRELIMINARY"
        return _Report(
            uid=plain(dataset.get("SOPInstanceUID")),
            replaces=frozenset(_evidence(dataset, "PredecessorDocumentsSequence")),
            verified=final and dataset.get("VerificationFlag") == "VERIFIED",
            said=_said(dataset, reading),
        )


def _evidence(report: Dataset, keyword: str = "CurrentRequestedProcedureEvidenceSequence") -> Evidence:
    """Objects named in a Hierarchical SOP Instance Reference Macro (PS3.3 C.17.2.1)."""
    return {
        plain(item.get("ReferencedSOPInstanceUID")): (
            plain(series.get("SeriesInstanceUID")),
            plain(study.get("StudyInstanceUID")),
        )
        for study in report.get(keyword) or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for item in series.get("ReferencedSOPSequence") or ()
    }


def _said(report: Dataset, reading: Reading) -> dict[Target, Said]:
    """What `report` says of each target."""
    evidence = _evidence(report)
    study: Target = ("study_instance_uid", plain(report.get("StudyInstanceUID")))
    whole = tuple(("sop_instance_uid", uid) for uid in evidence) or (study,)
    found: dict[Target, Said] = {}
    for targets, said in statements_of(read_content(report), reading.spelling):
        for target in targets or whole:
            lifted = _lift(target, reading.scope, evidence, study)
            before = found.get(lifted, Said())
            # within a report, a finding seen somewhere in the image is there
            present = before.present | said.present
            found[lifted] = Said(present, (before.absent | said.absent) - present)
    return found


def _lift(target: Target, scope: str, evidence: Evidence, study: Target) -> Target:
    """`target` as far up as `scope` says, and as the evidence tells where it belongs."""
    level, uid = target
    if scope == "study":
        return "study_instance_uid", evidence.get(uid, ("", study[1]))[1]
    if scope == "series" and level == "sop_instance_uid" and uid in evidence:
        return "series_instance_uid", evidence[uid][0]
    return target


def _statements(row: int, said: Mapping[Target, Said], key: bytes) -> Iterable[Statement]:
    return [Statement(row, level, identifier_key(key, level, uid), each) for (level, uid), each in said.items() if uid]
