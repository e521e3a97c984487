"""Images by truth and by score, as a reader of a report sees them. Counts may be noisy (shared/metrics.py).

>>> Confusion(9, 1, 6, 4).sensitivity
0.9
"""

from typing import NamedTuple

from shared.pair_noise import share


class Confusion(NamedTuple):
    """Images by truth and call at one threshold."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int

    @property
    def sensitivity(self) -> float:
        """Share of the positives called positive."""
        return share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of the negatives called negative."""
        return share(self.true_negative, self.true_negative + self.false_positive)


class CalibrationBin(NamedTuple):
    """Images whose score fell in one tenth of [0, 1]: mean score against the share that is positive."""

    images: int
    mean_score: float
    positive_share: float
