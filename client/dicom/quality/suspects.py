"""What looks wrong in the images of the sample: counted, never named. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from client.dicom.quality.facts import Facts
from client.dicom.quality.view import View
from client.dicom.reasons import Reason

#: Share at one highest value above which an image counts as saturated; share whose differences the file's own window
#: takes away above which it counts as clipped.
SATURATED, CLIPPED = 0.1, 0.9

Looked = tuple[Facts, View | Reason]


@dataclass(frozen=True)
class Suspects:
    """Images of the sample. `looked` of them were decoded, the others `failed` for a reason.

    `text` by modality; `constant` have one value only; `inverted`: projection images that seem to be shown negative.
    `copies`: images whose pixels another patient's image has too, `copied` how many different ones, `contradictions` of
    these with different labels.
    """

    looked: int
    failed: Mapping[Reason, int]
    text: Mapping[str, int]
    constant: int
    saturated: int
    clipped: int
    inverted: int
    copies: int
    copied: int
    contradictions: int


def suspects(sample: Iterable[Looked]) -> Suspects:
    """Count what the views of `sample` show."""
    rows = list(sample)
    views = [(facts, view) for facts, view in rows if isinstance(view, View)]
    failed = Counter(view for _, view in rows if isinstance(view, Reason))
    groups = _copies(views)
    return Suspects(
        looked=len(views),
        failed={reason: failed[reason] for reason in Reason if failed[reason]},
        text=dict(sorted(Counter(facts.modality for facts, view in views if view.text).items())),
        constant=sum(view.constant for _, view in views),
        saturated=sum(view.saturated > SATURATED for _, view in views),
        clipped=sum(view.clipped > CLIPPED and not view.constant for _, view in views),
        inverted=sum(view.inverted for _, view in views),
        copies=sum(map(len, groups)),
        copied=len(groups),
        contradictions=sum(len({facts.labels for facts in group}) > 1 for group in groups),
    )


def _copies(views: Iterable[tuple[Facts, View]]) -> list[list[Facts]]:
    """Images with equal pixels, where they are of different patients; images of one value are all alike."""
    same: dict[bytes, list[Facts]] = defaultdict(list)
    for facts, view in views:
        if not view.constant:
            same[view.digest].append(facts)
    return [group for group in same.values() if len({facts.patient for facts in group}) > 1]
