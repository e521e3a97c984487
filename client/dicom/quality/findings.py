"""What the people of the archive should know before they read on: findings drawn from a QualityReport. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from client.dicom.quality.report import QualityReport
from client.dicom.quality.shortcuts import Shortcut
from shared.text import GAP

Level = Literal["bad", "note", "good"]
#: Share of files left out, and of images without a patient, that is a note.
MANY = 0.05
#: Patients of a label below which it can hardly be learnt, and is not counted towards the federation's survey.
FEW = 20


@dataclass(frozen=True)
class Finding:
    """One sentence, and what to do about it (empty: nothing)."""

    level: Level
    text: str
    do: str = ""


def findings(report: QualityReport) -> tuple[Finding, ...]:
    """All findings, the bad ones first; one good one where there is no other."""
    found = [*_archive(report), *_volumes(report), *_labels(report), *_pixels(report), *_shortcuts(report)]
    if not found:
        return (Finding("good", "Nothing looks wrong in what was counted and looked at."),)
    return tuple(sorted(found, key=lambda one: ("bad", "note", "good").index(one.level)))


def _archive(report: QualityReport) -> Iterator[Finding]:
    counts = report.counts
    left = counts.files - counts.usable
    if not counts.usable:
        yield Finding("bad", "No file of the archive can be used.", "The table of what is left out says why.")
    elif left > MANY * counts.files:
        yield Finding("note", f"{_part(left, counts.files, 'file')} cannot be used.", "The reasons stand below.")
    for modality, (raw, shown) in counts.raw.items():
        yield Finding(
            "note",
            f"{modality or 'Images without a modality'}: {raw:,} images for processing beside {shown:,} for "
            "presentation. They look different, and a study takes one kind only.",
            "Check that the archive holds the kind that the study asks for.",
        )
    if counts.orphans:
        yield Finding(
            "note",
            f"{_part(counts.orphans, counts.usable, 'usable image')} name no patient: each DICOM study counts as one.",
            "Images of one person may then be trained on and tested on; send them again with the Patient ID.",
        )


def _volumes(report: QualityReport) -> Iterator[Finding]:
    own = report.scans
    if own.images:
        why = ", ".join(f"{reason.explain} ({count:,})" for reason, count in own.images.items())
        yield Finding(
            "note" if own.volumes else "bad",
            f"{_part(own.series - own.volumes, own.series, 'scan')} make no volume: {why}.",
            next(iter(own.images)).advice + " Studies of single images can use them.",
        )


def _labels(report: QualityReport) -> Iterator[Finding]:
    if not report.labelled:
        return
    for label, patients in report.counts.patients_by_label.items():
        if patients < FEW:
            yield Finding("note", f"Only {patients:,} of {report.counts.patients:,} patients have the label “{label}”.")


def _pixels(report: QualityReport) -> Iterator[Finding]:
    own = report.suspects
    if text := sum(own.text.values()):
        yield Finding(
            "bad",
            f"Writing seems to be burned into {_part(text, own.looked, 'image')} of the sample.",
            "Look at images of the modalities named below; a name in pixels stays a name in training.",
        )
    if own.copies:
        contradicting = f", with other labels in {own.contradictions:,} of {own.copied:,} cases" * bool(
            own.contradictions
        )
        yield Finding(
            "bad",
            f"{_part(own.copies, own.looked, 'image')} of the sample have another patient's pixels{contradicting}.",
            "One person may have two numbers, or a test image was sent as a patient's.",
        )
    for count, level, what, do in (
        (own.inverted, "bad", "seem to be shown negative", "Check Photometric Interpretation at the device."),
        (own.constant, "note", "have one value only", "Remove them from the label file."),
        (own.saturated, "note", "have more than a tenth of their pixels at the highest value", ""),
        (own.clipped, "note", "lose nine tenths of their pixels to black or white by their own window", ""),
        (sum(own.failed.values()), "note", "could not be decoded", "The reasons stand below."),
    ):
        if count:
            of = own.looked + sum(own.failed.values())
            yield Finding("bad" if level == "bad" else "note", f"{_part(count, of, 'image')} of the sample {what}.", do)


def _shortcuts(report: QualityReport) -> Iterator[Finding]:
    warnings = [one for one in report.shortcuts if one.warning]
    for label in dict.fromkeys(one.label for one in warnings):
        ways = ", or ".join(f"the {one.attribute} ({strength(one)})" for one in warnings if one.label == label)
        yield Finding(
            "bad",
            f"The label “{label}” can be told without the patient: from {ways} alone.",
            "A model may learn this instead of the finding. Look at such images; balance them, or tell the consortium.",
        )


def strength(one: Shortcut) -> str:
    """How strong `one` is, with its scale."""
    return f"{'AUC' if one.measure == 'area' else 'V'}{GAP}{one.strength:.2f}"


def _part(count: int, of: int, noun: str) -> str:
    """`3 of 40 images (7.5 %)`."""
    return f"{count:,} of {of:,} {noun}{'s' * (of != 1)} ({100 * count / of:.1f}{GAP}%)"
