"""What joined and what did not between labels and archive, so that the hospital can repair its table.

Guarantees: rows are told by number and images by count; no identifier is in it. The report can be shown, logged and
sent to those who keep the table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from client.dicom.labels.labels import Labels, Remark, Rows
from client.dicom.labels.levels import keys_of
from client.dicom.scanning.entry import Entry

#: Row numbers told in one sentence.
MOST_TOLD = 10


@dataclass(frozen=True)
class JoinReport:
    """`images`: those asked about; `labelled`: those with a row that does not contradict another; `conflicting`: those
    whose rows do; `unmatched`: level → rows whose identifier matches none of them; `conflicts`: all rows that
    contradict others; `remarks`: rows that say nothing, or nothing usable, and why."""

    images: int
    labelled: int
    conflicting: int
    rows: int
    unmatched: Mapping[str, Rows]
    conflicts: Rows
    remarks: Mapping[Remark, Rows]

    @property
    def unlabelled(self) -> int:
        """Images without a row."""
        return self.images - self.labelled - self.conflicting

    def sentences(self) -> tuple[str, ...]:
        """What went wrong, one sentence each, for a person; empty if all joined."""
        told = []
        if self.unlabelled:
            told.append(f"{self.unlabelled} of {self.images} images have no row.")
        for level, rows in self.unmatched.items():
            told.append(f"{_rows(rows)}: no image of the archive has this {level}.")
        if self.conflicts:
            told.append(f"{_rows(self.conflicts)}: contradict each other ({self.conflicting} images).")
        told += [f"{_rows(rows)}: {remark}." for remark, rows in self.remarks.items()]
        return tuple(told)


def join(labels: Labels, entries: Iterable[Entry]) -> JoinReport:
    """How `labels` and `entries` (whole images of the archive) go together."""
    images = conflicting = labelled = 0
    touched: dict[str, set[bytes]] = {level: set() for level in labels.levels}
    for entry in entries:
        images += 1
        names = keys_of(entry)
        for level, claims in labels.levels.items():
            if names[level] in claims:
                touched[level].add(names[level])
        if matched := labels.match(entry):
            contradicted = labels.levels[matched[0]][matched[1]].said is None
            conflicting += contradicted
            labelled += not contradicted
    unmatched = {
        level: _sorted(claim.rows for value, claim in claims.items() if value not in touched[level])
        for level, claims in labels.levels.items()
    }
    claims_made = [claim for claims in labels.levels.values() for claim in claims.values()]
    conflicts = _sorted(claim.rows for claim in claims_made if claim.said is None)
    unmatched = {level: rows for level, rows in unmatched.items() if rows}
    return JoinReport(images, labelled, conflicting, labels.rows, unmatched, conflicts, labels.remarks)


def _sorted(groups: Iterable[Rows]) -> Rows:
    return tuple(sorted(row for rows in groups for row in rows))


def _rows(rows: Rows) -> str:
    told = ", ".join(map(str, rows[:MOST_TOLD]))
    more = f" and {len(rows) - MOST_TOLD} more" if len(rows) > MOST_TOLD else ""
    return f"row{'s' if len(rows) > 1 else ''} {told}{more}"
