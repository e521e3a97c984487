"""Shortcuts: can the label be told without looking at the patient?

A network takes the easiest way to the answer. If all images with a finding come from one scanner, or have a white
border, it learns the scanner or the border, is right in this hospital and wrong in the next. So each cheap attribute of
an image is tried alone: a number by the area under the ROC curve of ranking by it, a word by Cramér's V, corrected for
chance (Bergsma, A bias-correction for Cramér's V and Tschuprow's T, J. Korean Stat. Soc. 42, 2013). Pure.

Rules: a warning needs a strong association *and* enough patients that it is no chance: an area that a number without
meaning reaches once in a thousand, a χ² once in ten thousand. An attribute may be a true sign of disease, as brightness
can be: a warning asks people to look, it says not that something is wrong.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, rankdata

#: Patients on either side below which nothing is said.
LEAST = 10
#: An association that is worth a warning.
STRONG_AREA, STRONG_V = 0.8, 0.5
#: Standard errors of the area from chance (two-sided, 1 in 1,000); probability of the table of words by chance.
ERRORS, CHANCE = 3.29, 1e-4
#: Words with fewer images are taken together.
RARE = 5

_OTHER = "another value"


@dataclass(frozen=True)
class Observation:
    """One patient's image: its labels and cheap attributes by name."""

    labels: tuple[str, ...]
    numbers: Mapping[str, float]
    words: Mapping[str, str]


@dataclass(frozen=True)
class Shortcut:
    """How well `attribute` alone tells `label` from the rest: 1 is perfect; chance is 0.5 for an "area", 0 for "V"."""

    label: str
    attribute: str
    measure: Literal["area", "V"]
    strength: float
    #: patients with and without the label
    patients: tuple[int, int]
    #: the word, or the direction, that speaks for the label
    sign: str
    warning: bool


def shortcuts(observations: Sequence[Observation]) -> tuple[Shortcut, ...]:
    """All associations that can be judged, warnings and the strongest first."""
    found: list[Shortcut] = []
    for label, has in _questions(observations):
        found += _by_numbers(label, has, observations)
        found += _by_words(label, has, observations)
    return tuple(sorted(found, key=lambda one: (not one.warning, -_comparable(one), one.label, one.attribute)))


def _comparable(one: Shortcut) -> float:
    return one.strength if one.measure == "V" else 2 * one.strength - 1


def _questions(observations: Sequence[Observation]) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    """Each label and who has it; of two that exclude and complete each other, the second only."""
    asked: set[bytes] = set()
    for label in sorted({label for one in observations for label in one.labels}, reverse=True):
        has = np.array([label in one.labels for one in observations])
        enough = min(np.count_nonzero(has), np.count_nonzero(~has)) >= LEAST
        if enough and has.tobytes() not in asked and (~has).tobytes() not in asked:
            asked.add(has.tobytes())
            yield label, has


def _by_numbers(label: str, has: NDArray[np.bool_], observations: Sequence[Observation]) -> Iterable[Shortcut]:
    for name in observations[0].numbers:
        values = np.array([one.numbers[name] for one in observations])
        if values.min() == values.max():
            continue
        area, error = area_of(values[has], values[~has])
        more = area >= 0.5
        area = max(area, 1 - area)
        warning = area >= STRONG_AREA and area - 0.5 > ERRORS * error
        yield Shortcut(label, name, "area", area, _counts(has), "more" if more else "less", warning)


def area_of(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> tuple[float, float]:
    """Area under the ROC curve of ranking by a number, ties half, and its standard error if the number tells nothing
    (Mann and Whitney, Ann. Math. Stat. 18, 1947; ties would make it smaller)."""
    m, n = len(positive), len(negative)
    ranks = rankdata(np.concatenate((positive, negative)))
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    return area, float(np.sqrt((m + n + 1) / (12 * m * n)))


def _by_words(label: str, has: NDArray[np.bool_], observations: Sequence[Observation]) -> Iterable[Shortcut]:
    for name in observations[0].words:
        words = [one.words[name] or "nothing" for one in observations]
        frequent = Counter(words)
        words = [word if frequent[word] >= RARE else _OTHER for word in words]
        kinds = sorted(set(words))
        if len(kinds) < 2:
            continue
        table = np.array(
            [[np.count_nonzero(has[_where(words, kind)] == side) for kind in kinds] for side in (True, False)]
        )
        strength, chance = cramers_v(table)
        # the word with the largest part of the label's patients, compared with the others'
        shares = table / table.sum(axis=1, keepdims=True)
        sign = kinds[int(np.argmax(shares[0] - shares[1]))]
        yield Shortcut(label, name, "V", strength, _counts(has), sign, strength >= STRONG_V and chance < CHANCE)


def _where(words: Sequence[str], kind: str) -> NDArray[np.bool_]:
    return np.array([word == kind for word in words])


def cramers_v(table: NDArray[np.int64]) -> tuple[float, float]:
    """Bias-corrected V of a table of counts without empty rows or columns, and the χ² probability of chance."""
    rows, columns = table.shape
    total = int(table.sum())
    test = chi2_contingency(table, correction=False)
    spread = max(0.0, float(test.statistic) / total - (columns - 1) * (rows - 1) / (total - 1))
    least = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    return min(1.0, float(np.sqrt(spread / least))) if least > 0 else 0.0, float(test.pvalue)


def _counts(has: NDArray[np.bool_]) -> tuple[int, int]:
    return int(np.count_nonzero(has)), int(np.count_nonzero(~has))
