"""Which subgroups a hospital keeps back, and what those that it shows leave to be worked out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from client.evaluation import Looked, hidden_of
from client.images import Images, Split
from shared.evaluated import Evaluated
from shared.study import MINIMAL, parse_study
from shared.tasks.registry import kind_of

STUDY = parse_study(MINIMAL + '[evaluation]\nsubgroups = ["sex", "age"]\n')
WOMEN, MEN, OTHERS = 0, 1, 2


def inside(*sizes: int) -> list[NDArray[np.bool_]]:
    """Groups of so many patients, one image each."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return [owner == group for group in range(len(sizes))]


@pytest.mark.parametrize(
    ("sizes", "hidden"),
    [
        ((9, 8, 7), (False, False, False)),
        ((9, 8, 0), (False, False, False)),
        ((9, 8, 4), (False, True, True)),  # all less the first is 12 patients, not 4
        ((9, 3, 2), (False, True, True)),  # 5 together
        ((9, 2, 2), (True, True, True)),
        ((9, 1, 0), (True, True, False)),
        ((3, 1, 0), (True, True, False)),
    ],
)
def test_what_is_hidden_rests_on_enough_patients_together(sizes: tuple[int, ...], hidden: tuple[bool, ...]) -> None:
    assert hidden_of(inside(*sizes), np.arange(sum(sizes)), smallest=5) == list(hidden)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 8))
def test_all_less_the_shown_groups_is_nobody_or_many_or_the_whole_hospital(sizes: list[int], smallest: int) -> None:
    hidden = hidden_of(inside(*sizes), np.arange(sum(sizes)), smallest)
    rest = sum(size for size, few in zip(sizes, hidden, strict=True) if few)
    assert rest == 0 or rest >= min(smallest, sum(sizes))
    assert all(few for size, few in zip(sizes, hidden, strict=True) if 0 < size < smallest)


def test_patients_count_once_however_many_images_they_have() -> None:
    patient = np.array([0, 0, 0, 0, 0, 1, 2, 3, 4, 5])
    assert hidden_of([np.arange(10) < 5, np.arange(10) >= 5], patient, smallest=5) == [True, True]


def counts(*sexes: int) -> Evaluated:
    """What a hospital sends that holds one test image of each of so many patients, all of one age."""
    number = len(sexes)
    groups = np.zeros((number, 8), np.bool_)
    groups[np.arange(number), sexes], groups[:, 4] = True, True
    images = Images(
        np.zeros((number, 1, 32, 32), np.float32),
        np.arange(number) % 2,
        np.arange(number),
        tuple(bytes([k]) for k in range(number)),
        np.full(number, Split.TEST),
        groups=groups,
    )
    share = np.linspace(0.1, 0.9, number)
    return Looked(STUDY, images, Split.TEST, np.stack([1 - share, share], axis=1)).counts(5)


def test_the_one_patient_of_a_group_cannot_be_worked_out_from_the_others() -> None:
    found, kind = counts(*[WOMEN] * 9, *[MEN] * 8, OTHERS), kind_of(STUDY)
    shown = [kind.judge(group).images for group in found.groups[:3]]
    assert shown == [9, 0, 0], "all 18 less 9 are 9, not the one"
    assert found.hidden[:3] == (0, 1, 1)
    assert found.groups[4] == found.everybody, "what is hidden of one kind hides nothing of another"
    assert not any(found.hidden[3:])
