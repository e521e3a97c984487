"""What a model is worth to one hospital's held-out patients, kept so that two models compare on the very same patients.

A figure of few patients moves by chance, but two models err on the same hard patients: the difference on the same ones
varies far less than either figure does. So a standing holds the figure of all, and of all but each of GROUPS groups of
patients; from two such rows follows how sure their difference is (the jackknife that leaves unequal groups out: Busing,
Meijer, van der Leeden 1999, Statistics and Computing 9:3-8, eq. 7-9). That holds for any smooth headline, means and
areas under curves alike, and whatever images a patient has; of a patient it keeps nothing. Pure.

    >>> figure = Figure("auc", 0.8, "AUC")
    >>> rows = tuple(0.8 + k / 1000 for k in range(GROUPS))
    >>> difference(Standing(figure, rows, "", 40), Standing(figure, rows, "", 40))
    Difference(value=0.0, low=0.0, high=0.0)
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from client.evaluation import Looked
from shared.judged import Figure, goodness, known
from shared.tasks.registry import kind_of
from shared.wire import Record, digest

#: Groups of patients that are left out in turn; one patient each where there are fewer.
GROUPS = 10
#: Of a difference at the upper end of its two-sided 95 % interval.
SURE = 0.975


class Standing(Record, frozen=True):
    """`figure`: the headline on all `patients`; `without`: its goodness without each group, None where it has no value
    then; `whose`: names the patients and their numbers of images, in hex."""

    figure: Figure
    without: tuple[float | None, ...]
    whose: str
    patients: int


class Difference(NamedTuple):
    """In goodness, negative where the later model is worse, with its 95 % interval."""

    value: float
    low: float
    high: float


def standing_of(looked: Looked, figure: Figure) -> Standing:
    """Of the model that `looked`, whose headline on everybody is `figure`."""
    kind, rows = kind_of(looked.study), looked.rows
    target, patient = looked.images.target[rows], looked.images.patient[rows]
    owners, place, images = np.unique(patient, return_inverse=True, return_counts=True)
    names = [looked.images.keys[owner] for owner in owners]
    order = sorted(range(len(names)), key=names.__getitem__)  # by keyed hash: whatever order the archive was read in
    group = np.empty(len(names), np.int64)
    group[order] = np.arange(len(names)) % GROUPS
    without = []
    for left_out in range(min(GROUPS, len(names))):
        stay = group[place] != left_out
        counts = kind.count(looked.measures[stay], target[stay], patient[stay])
        without.append(known(goodness(kind.judge(counts).headline)))
    whose = digest("konsil/standing/v1", *(names[k] + int(images[k]).to_bytes(4, "big") for k in order))
    return Standing(figure, tuple(without), whose.hex(), len(names))


def difference(now: Standing, before: Standing) -> Difference | None:
    """How much better `now` is than `before` on the same two patients or more; None where that cannot be said."""
    values = (now.figure.value, *now.without, before.figure.value, *before.without)
    if now.whose != before.whose or now.patients < 2 or None in values:
        return None
    value = goodness(now.figure) - goodness(before.figure)
    apart = np.asarray(now.without, np.float64) - np.asarray(before.without, np.float64)
    margin = _margin(value, apart, now.patients)
    return Difference(value, value - margin, value + margin)


def _margin(value: float, without: NDArray[np.float64], patients: int) -> float:
    """Half the 95 % interval around `value`, of `patients`, that is `without` [groups] where each group is left out."""
    groups = len(without)
    sizes = np.bincount(np.arange(patients) % groups)
    ratio = patients / sizes  # h_j = n ÷ m_j
    pseudo = ratio * value - (ratio - 1) * without
    centre = groups * value - ((1 - 1 / ratio) * without).sum()
    variance = float(((pseudo - centre) ** 2 / (ratio - 1)).mean())
    return float(stdtrit(groups - 1, SURE)) * math.sqrt(variance)
