"""Counting an archive: by modality, maker, year, view, side and label; what is left out, file by file and by series.

Guarantees: entries pass one by one and are not kept: what grows with the archive is a few bytes per patient and per
series. Of the words that scanners write, the WORDS most frequent are told apart; the rest is counted together.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from client.dicom.quality.facts import FOR_PROCESSING, Facts
from client.dicom.reasons import Reason

#: Different words of one kind that are shown.
WORDS = 50
OTHERS = "others"

Tally = Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """Files, then usable images by what their headers say ("" where one says nothing), the most frequent first.

    `left_out` and `series_left_out`: files, and series that lose at least one, by reason in the list's order. `series`:
    how many keep every file, some, none. `orphans`: images that name no patient. `patients_by_label`: with at least one
    usable image so labelled. `raw`: modality → (images for processing, others), (0008,0068), where there are both.
    """

    files: int
    usable: int
    patients: int
    orphans: int
    series: tuple[int, int, int]
    left_out: Mapping[Reason, int]
    series_left_out: Mapping[Reason, int]
    by_modality: Tally
    by_manufacturer: Tally
    by_year: Tally
    by_view: Tally
    by_laterality: Tally
    by_label: Tally
    patients_by_label: Tally
    raw: Mapping[str, tuple[int, int]]


class Census:
    """Counts what `add` is given; `counts` says what that was."""

    def __init__(self) -> None:
        self._words: dict[str, Counter[str]] = defaultdict(Counter)
        self._left: Counter[Reason] = Counter()
        self._series: dict[bytes, int] = {}
        self._series_left: set[tuple[Reason, bytes]] = set()
        self._patients: dict[bytes, frozenset[str]] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._orphans = 0

    def add(self, facts: Facts, reason: Reason | None) -> None:
        """One file: usable, or left out for `reason`."""
        series = facts.series[:8]
        if series:  # 1: has a usable file; 2: has one that is left out
            self._series[series] = self._series.get(series, 0) | (1 if reason is None else 2)
        if reason is None:
            self._add_usable(facts)
            return
        self._left[reason] += 1
        if series:
            self._series_left.add((reason, series))

    def _add_usable(self, facts: Facts) -> None:
        self._orphans += facts.orphan
        patient = facts.patient[:8]
        known = self._patients.get(patient, frozenset()) | set(facts.labels)
        self._patients[patient] = self._sets.setdefault(known, known)
        for name in ("modality", "manufacturer", "year", "view", "laterality"):
            self._words[name][getattr(facts, name)] += 1
        self._words["label"].update(facts.labels)
        self._words["raw" if facts.intent == FOR_PROCESSING else "shown"][facts.modality] += 1

    def counts(self) -> Counts:
        """All that was counted so far."""
        usable = self._words["modality"].total()
        kept = Counter(self._series.values())
        labelled = Counter(label for labels in self._patients.values() for label in labels)
        lost = Counter(reason for reason, _ in self._series_left)
        raw, shown = self._words["raw"], self._words["shown"]
        return Counts(
            files=usable + self._left.total(),
            usable=usable,
            patients=len(self._patients),
            orphans=self._orphans,
            series=(kept[1], kept[3], kept[2]),
            left_out={reason: self._left[reason] for reason in Reason if self._left[reason]},
            series_left_out={reason: lost[reason] for reason in Reason if lost[reason]},
            by_modality=_tally(self._words["modality"]),
            by_manufacturer=_tally(self._words["manufacturer"]),
            by_year=dict(sorted(self._words["year"].items())),
            by_view=_tally(self._words["view"]),
            by_laterality=_tally(self._words["laterality"]),
            by_label=_tally(self._words["label"]),
            patients_by_label=_tally(labelled),
            raw={modality: (raw[modality], shown[modality]) for modality in sorted(raw) if shown[modality]},
        )


def _tally(counter: Counter[str]) -> Tally:
    """The most frequent words first, equal ones by the alphabet; beyond WORDS together."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[WORDS:])
    return dict(ordered[:WORDS]) | ({OTHERS: rest} if rest else {})
