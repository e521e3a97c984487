"""The scan: every file of an archive ends as usable, or left out with one reason.

Guarantees: those of refresh.py and judge.py; counts are made of a stream, so memory does not grow with the archive.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.dicom.labels.source import kept_beside
from client.dicom.labels.table import Labels
from client.dicom.reasons import Reason
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry
from client.dicom.scanning.judge import judge, repeated_files
from client.dicom.scanning.refresh import Changes, Progress, refresh
from shared.study import Input

Verdict = tuple[str, ...] | Reason


@dataclass(frozen=True)
class ScanReport:
    """Counts of one scan. `skipped` holds the reasons that occur, in the order of Reason; the `by_` counts are of
    usable images, of `by_label` one per finding; `several_issuers`: patient numbers that stand under more than one
    issuer, or with one and without; `labels_unmatched`: identifiers in the label file that match no
    object of the archive."""

    files: int
    usable: int
    patients: int
    orphans: int
    several_issuers: int
    skipped: Mapping[Reason, int]
    by_modality: Mapping[str, int]
    by_manufacturer: Mapping[str, int]
    by_label: Mapping[str, int]
    by_year: Mapping[str, int]
    by_view: Mapping[str, int]
    by_laterality: Mapping[str, int]
    by_intent: Mapping[str, int]
    labels_unmatched: int
    read: int
    unchanged: int
    removed: int
    seconds: float


def scan(
    archive: Path,
    catalog: Catalog,
    *,
    key: bytes,
    labels: Labels | None = None,
    spec: Input | None = None,
    progress: Progress | None = None,
) -> ScanReport:
    """Bring `catalog` up to date with `archive` and count. `key` is the site's; `spec` what a study asks for.

    Raises InputError if there is no DICOM file or `labels` match nothing, SiteError for the catalog's disk.
    """
    start = time.perf_counter()
    changes = refresh(archive, catalog, key=key, ignore=kept_beside(labels.source) if labels else (), progress=progress)
    tally = _Tally(labels)
    for entry, verdict in verdicts(catalog, key=key, labels=labels, spec=spec):
        tally.add(entry, verdict)
    return tally.report(changes, time.perf_counter() - start)


def verdicts(
    catalog: Catalog, *, key: bytes, labels: Labels | None = None, spec: Input | None = None
) -> Iterator[tuple[Entry, Verdict]]:
    """Every entry, series by series, and what becomes of it. Write nothing to the catalog before the end."""
    repeated = repeated_files(catalog, key)
    for entry in catalog.entries():
        yield entry, judge(entry, repeated=repeated, spec=spec, labels=labels)


@dataclass
class _Tally:
    """Counts under way."""

    labels: Labels | None
    files: int = 0
    usable: int = 0
    orphans: int = 0
    numbers: dict[bytes, bytes] = field(default_factory=dict)
    shared: set[bytes] = field(default_factory=set)
    patients: set[bytes] = field(default_factory=set)
    reasons: Counter[Reason] = field(default_factory=Counter)
    matched: set[tuple[str, bytes]] = field(default_factory=set)
    by: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, entry: Entry, verdict: Verdict) -> None:
        self.files += 1
        if self.labels and entry.sop and (match := self.labels.match(entry)):
            self.matched.add(match)
        if isinstance(verdict, Reason):
            self.reasons[verdict] += 1
            return
        self.usable += 1
        self.orphans += entry.orphan
        self.patients.add(entry.patient)
        if entry.bare_patient and self.numbers.setdefault(entry.bare_patient, entry.patient) != entry.patient:
            self.shared.add(entry.bare_patient)
        values = {
            "modality": entry.modality,
            "manufacturer": entry.manufacturer,
            "year": str(entry.year or ""),
            "view": entry.view_position,
            "laterality": entry.laterality,
            "intent": entry.intent,
        }
        for name, value in values.items():
            self.by[name][value] += 1
        self.by["label"].update(verdict)

    def report(self, changes: Changes, seconds: float) -> ScanReport:
        """Raises InputError if no row of the label file matches any whole object."""
        if self.labels:
            self.labels.require_match(len(self.matched))
        identifiers = sum(len(level) for level in self.labels.levels.values()) if self.labels else 0
        return ScanReport(
            files=self.files,
            usable=self.usable,
            patients=len(self.patients),
            orphans=self.orphans,
            several_issuers=len(self.shared),
            skipped={reason: self.reasons[reason] for reason in Reason if self.reasons[reason]},
            by_modality=self._sorted("modality"),
            by_manufacturer=self._sorted("manufacturer"),
            by_label=self._sorted("label"),
            by_year=self._sorted("year"),
            by_view=self._sorted("view"),
            by_laterality=self._sorted("laterality"),
            by_intent=self._sorted("intent"),
            labels_unmatched=identifiers - len(self.matched),
            read=changes.read,
            unchanged=changes.unchanged,
            removed=changes.removed,
            seconds=seconds,
        )

    def _sorted(self, name: str) -> Mapping[str, int]:
        return dict(sorted(self.by[name].items()))
