"""In which of an evaluation's subgroups an image is, by what its header says.

Guarantees: the order is that of shared/subgroups.py; of each kind that the study names an image is in exactly one
group. Manufacturers are compared without regard to capitals and spaces, as vendors write themselves differently.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.dicom.targets.values import years
from shared.study import AGES, Evaluation
from shared.subgroups import SEXES, subgroups


@dataclass(frozen=True, slots=True)
class Traits:
    """(0010,0040), (0010,1010) and (0008,0070) of an image, as they stand there."""

    sex: str = ""
    age: str = ""
    manufacturer: str = ""


def groups_of(traits: Sequence[Traits], evaluation: Evaluation) -> NDArray[np.bool_] | None:
    """bool [N, G]: whether image i is in each of subgroups(evaluation); None where the study names none."""
    names = subgroups(evaluation)
    if not names:
        return None
    found = np.zeros((len(traits), len(names)), np.bool_)
    for row, one in zip(found, traits, strict=True):
        row[_places(one, evaluation)] = True
    return found


def _places(traits: Traits, evaluation: Evaluation) -> list[int]:
    """The groups of one image, one of each kind, in the order in which the kinds stand."""
    kinds = {
        "sex": (_sex(traits.sex), len(SEXES)),
        "age": (_band(traits.age), len(AGES) + 2),
        "manufacturer": (_maker(traits.manufacturer, evaluation.manufacturers), len(evaluation.manufacturers) + 1),
    }
    places, start = [], 0
    for kind, (place, count) in kinds.items():
        if kind in evaluation.subgroups:
            places.append(start + place)
            start += count
    return places


def _sex(text: str) -> int:
    sex = text.strip().upper()
    return SEXES.index(sex) if sex in SEXES[:-1] else len(SEXES) - 1


def _band(text: str) -> int:
    """The band of AGES; the last place is that of those whose age nobody says."""
    age = years(text)
    return len(AGES) + 1 if age is None else bisect_right(AGES, age)


def _maker(text: str, known: Sequence[str]) -> int:
    names = [_bare(name) for name in known]
    return names.index(_bare(text)) if _bare(text) in names else len(names)


def _bare(name: str) -> str:
    return "".join(name.casefold().split())
