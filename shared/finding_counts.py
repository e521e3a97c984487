"""How the integers of one finding lie in the counts of a kind, and what no hospitals can have sent.

Guarantees: equally many whatever the hospital holds; they add up over hospitals; without noise none is negative, and a
sum that breaks what holds for every one of its parts is refused.

    >>> Layout(noise=True).length == BinaryCounts.LENGTH
    True
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import unlikely
from shared.finding import Finding
from shared.metrics import AUC_UNIT, BinaryCounts
from shared.pair_noise import PairNoise
from shared.score_bins import Floats, Ints
from shared.shares import ClassClusters

#: No sum of images reaches it; beyond it histograms would wrap.
MOST = 2**48
#: What a score that is not a number says of an image: nothing.
UNKNOWN = 0.5
_NO_NOISE = PairNoise()


@dataclass(frozen=True)
class Layout:
    """BinaryCounts, with room for noise or without; then `clusters` of patients."""

    noise: bool = False
    clusters: bool = False

    @property
    def length(self) -> int:
        """How many integers there are."""
        return self._scores + ClassClusters.LENGTH * self.clusters

    @property
    def _scores(self) -> int:
        return BinaryCounts.LENGTH if self.noise else BinaryCounts.LENGTH - len(_NO_NOISE)

    def write(self, scores: NDArray[np.float32] | Floats, labels: Ints, patients: Ints) -> list[int]:
        """`length` integers of one site: probabilities [n], labels 0/1 [n], patient index [n]. Where a network gives no
        number, its score is UNKNOWN."""
        known = np.nan_to_num(np.asarray(scores, np.float64), nan=UNKNOWN)
        values = BinaryCounts.of(known, labels, patients).to_integers()
        if not self.noise:
            del values[BinaryCounts.EXACT : BinaryCounts.EXACT + len(_NO_NOISE)]
        return values + (ClassClusters.of(known, labels, patients).to_integers() if self.clusters else [])

    def read(self, values: Sequence[int], of: str = "") -> Finding:
        """The inverse, of one site or of a sum; `of` as in figures. Raises OperatorError for what cannot be."""
        check(values, negative=self.noise and values[BinaryCounts.EXACT] > 0)
        exact, more = values[: BinaryCounts.EXACT], values[BinaryCounts.EXACT : self._scores]
        counts = BinaryCounts.from_integers([*exact, *(() if self.noise else _NO_NOISE), *more])
        if not counts.noise.sites:
            _check_pairs(counts)
        clusters = ClassClusters.from_integers(list(values[self._scores :])) if self.clusters else None
        return Finding(counts, clusters, of)


def check(values: Sequence[int], *, negative: bool = False) -> None:
    """Raise OperatorError for a number that no count reaches, or below 0 unless they may be `negative`."""
    if max(map(abs, values), default=0) >= MOST or (not negative and min(values, default=0) < 0):
        raise unlikely(f"counts below {MOST}, none below 0 without noise", "others")


def _check_pairs(counts: BinaryCounts) -> None:
    most = int(counts.positives.sum()) * int(counts.negatives.sum())
    if counts.pairs > most or counts.twice_concordant > 2 * counts.pairs:
        raise unlikely(f"at most {most} pairs, and no more of them concordant", f"{counts.pairs}")
    if counts.auc_sum > (AUC_UNIT + 1) * counts.sites:
        raise unlikely(f"areas of at most 1 at each of {counts.sites} hospitals", "more")
