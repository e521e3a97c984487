"""The quality of an archive: what it holds, what is left out and why, and what looks wrong, before any training.

Guarantees: counts, shares, and words of scanners and of the label file, never an identity: no UID, path, name or hash;
for the hospital's own people only, since small counts stand in it. Counts are of all files; what needs pixels is of the
sample (client/dicom/quality/sample.py), which stays the same while the archive does.

    report = assess(archive, catalog, key=key, labels=labels)
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.dicom.item import Part
from client.dicom.labels.labels import Labels
from client.dicom.quality.census import Census, Counts
from client.dicom.quality.facts import Facts
from client.dicom.quality.intensity import Intensity, pooled
from client.dicom.quality.looking import look
from client.dicom.quality.sample import Chosen, Sample
from client.dicom.quality.shortcuts import Observation, Shortcut, shortcuts
from client.dicom.quality.suspects import Looked, Suspects, suspects
from client.dicom.quality.view import View
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import place_of
from client.dicom.scanning.scan import verdicts
from client.dicom.scanning.walk import base_of
from client.dicom.series import Scans, describe_all, scans

#: progress(done, total) images looked at
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """A file of the archive: its first image, what its header and the label file say, and why it is left out, if so."""

    part: Part
    facts: Facts
    reason: Reason | None


@dataclass(frozen=True)
class QualityReport:
    """The whole of it. `labelled`: there was a label file. `shortcuts` rests on `observed` patients of the sample."""

    labelled: bool
    counts: Counts
    scans: Scans
    suspects: Suspects
    intensities: tuple[Intensity, ...]
    observed: int
    shortcuts: tuple[Shortcut, ...]


def assess(
    archive: Path, catalog: Catalog, *, key: bytes, labels: Labels | None = None, progress: Progress | None = None
) -> QualityReport:
    """The report on `archive`, whose `catalog` is up to date (refresh.py): a sample of its images is looked at.

    Raises InputError if `labels` match nothing, SiteError for the catalog's disk.
    """
    volumes = scans(describe_all(catalog, key, None))
    judged = judged_of(archive, catalog, key, labels)
    return report_of(judged, volumes, key=key, labelled=labels is not None, progress=progress)


def judged_of(archive: Path, catalog: Catalog, key: bytes, labels: Labels | None) -> Iterator[Judged]:
    """Every file of `catalog` with what the scan decides about it. Raises InputError at its end if `labels` match
    nothing."""
    base, matched = base_of(archive), 0
    for entry, verdict in verdicts(catalog, key=key, labels=labels):
        reason, findings = (verdict, ()) if isinstance(verdict, Reason) else (None, verdict)
        matched += labels is not None and labels.match(entry) is not None
        part = Part(place_of(key, entry).location(base), entry.stamp, frame=entry.number_of_frames // 2)
        yield Judged(part, Facts.of(entry, findings), reason)
    if labels is not None:
        labels.require_match(matched)


def report_of(
    judged: Iterable[Judged], volumes: Scans, *, key: bytes, labelled: bool, progress: Progress | None = None
) -> QualityReport:
    """The report on `judged`, every file of an archive once, and on the `volumes` among them."""
    census, sample = Census(), Sample(key)
    for one in judged:
        census.add(one.facts, one.reason)
        if one.reason is None:
            sample.add(one.part, one.facts)
    looked = _look(sample.chosen(), progress)
    observations = observations_of(looked) if labelled else ()
    return QualityReport(
        labelled=labelled,
        counts=census.counts(),
        scans=volumes,
        suspects=suspects(looked),
        intensities=_intensities(looked),
        observed=len(observations),
        shortcuts=shortcuts(observations),
    )


def _look(chosen: Sequence[Chosen], progress: Progress | None) -> tuple[Looked, ...]:
    """In the order of the sample, whichever came first."""
    views: dict[Chosen, View | Reason] = {}
    for one, view in look(chosen):
        views[one] = view
        if progress:
            progress(len(views), len(chosen))
    return tuple((one.facts, views[one]) for one in chosen)


def _intensities(looked: Iterable[Looked]) -> tuple[Intensity, ...]:
    points: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for facts, view in looked:
        if isinstance(view, View):
            points[facts.modality].append(view.points)
    found = (pooled(modality, rows) for modality, rows in sorted(points.items()))
    return tuple(intensity for intensity in found if intensity is not None)


def observations_of(looked: Iterable[Looked]) -> tuple[Observation, ...]:
    """One image of each patient and labels, with what is cheap to know of it."""
    first: dict[tuple[bytes, tuple[str, ...]], Observation] = {}
    for facts, view in looked:
        if isinstance(view, View) and (facts.patient, facts.labels) not in first:
            first[facts.patient, facts.labels] = Observation(facts.labels, _numbers(view), _words(facts))
    return tuple(first.values())


def _numbers(view: View) -> dict[str, float]:
    return {
        "black border": view.black_border,
        "white border": view.white_border,
        "brightness of the corners": view.corners,
        "mean brightness": view.brightness,
        "contrast": view.contrast,
        "markers near the border": float(view.markers),
        "share at the highest value": view.saturated,
    }


def _words(facts: Facts) -> dict[str, str]:
    return {
        "modality": facts.modality,
        "manufacturer": facts.manufacturer,
        "year": facts.year,
        "view": facts.view,
        "laterality": facts.laterality,
        "body part": facts.body_part,
        "intent": facts.intent,
        "image size": f"{facts.rows} × {facts.columns}",
        "bits stored": str(facts.bits),
        "photometric interpretation": facts.photometric,
        "transfer syntax": facts.transfer_syntax,
    }
