"""Which images of an archive are looked at: a sample that is small, fair and always the same.

Guarantees: per group (modality and label) at most GROUP images of patients drawn by a keyed hash, whatever the order in
which entries come, at most EACH of one patient, at most MOST in all; a larger archive takes more time, not more memory;
nobody without the site's key can foresee, or arrange, which images are looked at.
"""

import hmac
from bisect import insort
from collections import defaultdict
from dataclasses import dataclass, field

from client.dicom.item import Part
from client.dicom.quality.facts import Facts

#: Images of one modality and label, of one patient among them, and in all.
GROUP = 200
EACH = 10
MOST = 2000


@dataclass(frozen=True)
class Chosen:
    """An image to look at, and what its header says."""

    part: Part = field(repr=False)
    facts: Facts = field(repr=False)


Rank = bytes
#: A patient's rank, then the images with their own, first the least.
Drawn = tuple[Rank, list[tuple[Rank, Chosen]]]


class Sample:
    """Entries go in by `add`; `chosen` are those to look at. `key` is the site's."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._groups: dict[tuple[str, str], dict[Rank, list[tuple[Rank, Chosen]]]] = defaultdict(dict)
        self._ranks: dict[tuple[str, str], list[Rank]] = defaultdict(list)

    def add(self, part: Part, facts: Facts) -> None:
        """One usable image."""
        patient, image = self._rank(facts.patient), self._rank(facts.sop)
        for label in facts.labels or ("",):
            self._add((facts.modality, label), patient, image, Chosen(part, facts))

    def _add(self, group: tuple[str, str], patient: Rank, image: Rank, chosen: Chosen) -> None:
        drawn, ranks = self._groups[group], self._ranks[group]
        if patient not in drawn:
            if len(ranks) == GROUP and patient > ranks[-1]:
                return
            insort(ranks, patient)
            drawn[patient] = []
            if len(ranks) > GROUP:
                del drawn[ranks.pop()]
        insort(drawn[patient], (image, chosen), key=lambda ranked: ranked[0])
        del drawn[patient][EACH:]

    def _rank(self, name: bytes) -> Rank:
        return hmac.digest(self._key, b"konsil/quality-sample/v1\0" + name, "sha256")[:16]

    def chosen(self) -> tuple[Chosen, ...]:
        """The images, each once: one of every patient before a second of any."""
        share = max(1, min(GROUP, MOST // max(1, len(self._groups))))
        found: dict[Rank, Chosen] = {}
        for group in sorted(self._groups):
            drawn = self._groups[group]
            rows = [drawn[patient] for patient in self._ranks[group]]
            ordered = [images[turn] for turn in range(EACH) for images in rows if turn < len(images)]
            found.update(ordered[:share])
        return tuple(found.values())[:MOST]
