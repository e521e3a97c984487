"""What one source says of one image: which findings are there, which are not, of which it is unsure.

Guarantees: putting statements together does not depend on their order, and two that contradict each other make
no statement, never a choice.

    >>> choose(("edema", "pneumonia"), ("clear", "pneumonia"))
    'pneumonia'
"""

from collections.abc import Sequence
from dataclasses import dataclass

from client.dicom.reasons import Reason

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Said:
    """One statement. A finding in none of the three sets was not spoken of."""

    present: frozenset[str] = _NONE
    absent: frozenset[str] = _NONE
    unsure: frozenset[str] = _NONE

    def __bool__(self) -> bool:
        return bool(self.present or self.absent or self.unsure)


def add(one: Said | None, other: Said | None) -> Said | None:
    """Both statements as one; None, a contradiction, if a finding is present by one and absent by the other."""
    if one is None or other is None:
        return None
    whole = Said(one.present | other.present, one.absent | other.absent, one.unsure | other.unsure)
    return None if whole.present & whole.absent else whole


def agree(one: Said | None, other: Said | None) -> Said | None:
    """The statement both make; None, a contradiction, if they differ in anything."""
    return one if one == other else None


def choose(findings: tuple[str, ...] | Reason, labels: Sequence[str]) -> str | Reason:
    """The one of the study's `labels` that is among `findings`; a Reason as it came.

    None of them is `label_not_in_study`, several of them `label_conflict`.
    """
    if isinstance(findings, Reason):
        return findings
    among = [label for label in labels if label in findings]
    if len(among) == 1:
        return among[0]
    return Reason.LABEL_CONFLICT if among else Reason.LABEL_NOT_IN_STUDY
