"""How many positive–negative pairs of one site are concordant, and how far chance may have moved their share.

Guarantees: exact counts; images of one patient count as a cluster in the variance, which few patients never make
smaller than so few can know.
"""

import numpy as np

from shared.score_bins import Floats, Ints

#: An area is known no better than a share of so many independent trials for each patient of the rarer class (Hanley and
#: McNeil, Radiology 1982; 143:29–36, eq. 2, of exponential scores: 1.5 to 3). Variances of a sample that are smaller
#: are chance: of perfectly told patients they are 0.
TRIALS = 3


def pair_figures(scores: Floats, labels: Ints, patients: Ints) -> tuple[int, int, float]:
    """(2 × concordant + tied pairs, pairs, variance of the AUC with patients as clusters).

    Variance after Obuchowski (Biometrics 1997; 53:567–578), eq. 4–6: images of one patient are not independent; at
    least `_least`.
    """
    positive, negative = scores[labels == 1], scores[labels == 0]
    m, n = len(positive), len(negative)
    if not m or not n:
        return 0, 0, 0.0
    ordered_neg, ordered_pos = np.sort(negative), np.sort(positive)
    below = np.searchsorted(ordered_neg, positive, "left")
    twice = below + np.searchsorted(ordered_neg, positive, "right")  # 2 × (lower negatives) + ties, per positive
    above = 2 * m - np.searchsorted(ordered_pos, negative, "left") - np.searchsorted(ordered_pos, negative, "right")
    area = float(twice.sum()) / (2 * m * n)
    clusters, owner = np.unique(patients, return_inverse=True)
    size = len(clusters)
    own_pos, own_neg = owner[labels == 1], owner[labels == 0]
    v10 = np.bincount(own_pos, twice / (2 * n) - area, size)
    v01 = np.bincount(own_neg, above / (2 * m) - area, size)
    with_pos, with_neg = len(np.unique(own_pos)), len(np.unique(own_neg))
    if with_pos < 2 or with_neg < 2:
        return int(twice.sum()), m * n, 0.25
    s10 = with_pos / ((with_pos - 1) * m) * float(v10 @ v10)
    s01 = with_neg / ((with_neg - 1) * n) * float(v01 @ v01)
    s11 = size / (size - 1) * float(v10 @ v01)
    variance = s10 / m + s01 / n + 2 * s11 / (m * n)
    return int(twice.sum()), m * n, min(0.25, max(_least(area, min(with_pos, with_neg)), variance))


def _least(area: float, patients: int) -> float:
    """The smallest variance of an `area` that rests on so many `patients` of the rarer class; one of 0 or 1 is taken
    for half a trial off."""
    trials = TRIALS * patients
    held = min(1 - 0.5 / trials, max(0.5 / trials, area))
    return held * (1 - held) / trials
