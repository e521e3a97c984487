"""Whether a label can be told without the patient: exact figures for tables small enough to count."""

from itertools import combinations

import numpy as np
import pytest

from client.dicom.quality.shortcuts import Observation, area_of, cramers_v, shortcuts


def observed(count: int, label: str, number: float | None = None, word: str = "", seed: int = 0) -> list[Observation]:
    """`count` patients with `label`; their number is random around `number`."""
    random = np.random.default_rng(seed)
    values = random.normal(number, 1, count) if number is not None else np.zeros(count)
    return [Observation((label,) if label else (), {"border": float(value)}, {"maker": word}) for value in values]


@pytest.mark.parametrize(
    ("positive", "negative", "area"),
    [([3, 4], [1, 2], 1), ([1, 2], [3, 4], 0), ([1, 3], [2, 4], 0.25), ([1, 1], [1, 1], 0.5), ([2, 2], [1, 2], 0.75)],
)
def test_area_by_hand(positive: list[float], negative: list[float], area: float) -> None:
    assert area_of(np.array(positive, float), np.array(negative, float))[0] == area


def test_the_error_of_an_area_is_that_of_chance() -> None:
    """Of all 70 ways to draw four of eight ranks, the areas deviate by √(9 / 192)."""
    areas = []
    for four in combinations(range(8), 4):
        positive, negative = np.array(four, float), np.array([rank for rank in range(8) if rank not in four], float)
        area, error = area_of(positive, negative)
        areas.append(area)
    assert np.std(areas) == pytest.approx(error)
    assert error == pytest.approx(np.sqrt(9 / 192))


@pytest.mark.parametrize(
    ("table", "v"),
    [([[20, 0], [0, 20]], 1.0), ([[10, 10], [10, 10]], 0.0), ([[11, 9], [9, 11]], 0.0)],
)
def test_v_by_hand(table: list[list[int]], v: float) -> None:
    """The last: χ² = 0.4 of 40, less than chance explains."""
    found, chance = cramers_v(np.array(table))
    assert found == pytest.approx(v, abs=0.02)
    assert (chance < 1e-4) == (v > 0.5)


def test_a_number_that_tells_the_label_is_a_warning() -> None:
    found = shortcuts(observed(40, "nodule", 4.0, seed=1) + observed(40, "clear", 0.0, seed=2))
    (only,) = found
    assert (only.label, only.attribute, only.measure, only.sign, only.patients) == (
        "nodule", "border", "area", "more", (40, 40),
    )  # fmt: skip
    assert only.warning
    assert only.strength > 0.99


def test_less_of_a_number_tells_as_much() -> None:
    (only,) = shortcuts(observed(40, "nodule", -4.0, seed=1) + observed(40, "clear", 0.0, seed=2))
    assert (only.sign, only.warning) == ("less", True)


def test_a_word_that_tells_the_label_is_a_warning() -> None:
    sample = (
        observed(30, "nodule", word="Acme") + observed(10, "clear", word="Acme") + observed(60, "clear", word="Bee")
    )
    (only,) = shortcuts(sample)
    assert (only.attribute, only.measure, only.sign, only.warning) == ("maker", "V", "Acme", True)
    assert 0.7 < only.strength < 0.9


def test_nothing_is_said_of_too_few() -> None:
    assert shortcuts(observed(9, "nodule", 9.0) + observed(90, "clear", 0.0)) == ()
    assert shortcuts(observed(90, "nodule", 9.0) + observed(9, "clear", 0.0)) == ()
    assert shortcuts(()) == ()


@pytest.mark.parametrize(("count", "expected"), [(10, False), (30, True)])
def test_a_strong_association_needs_patients_too(count: int, expected: bool) -> None:
    """An area of 0.88, of which ten and ten patients make nothing."""
    ranks = np.arange(5.0)
    yes, no = np.tile(ranks + 2.25, count // 5), np.tile(ranks, count // 5)
    sample = [
        Observation((label,), {"border": float(value)}, {})
        for label, values in (("nodule", yes), ("clear", no))
        for value in values
    ]
    (only,) = shortcuts(sample)
    assert only.strength == pytest.approx(0.88)
    assert only.warning is expected


def test_chance_alone_is_never_a_warning() -> None:
    """Forty archives in which nothing tells anything."""
    for seed in range(40):
        random = np.random.default_rng(seed)
        sample = [
            Observation(
                (("nodule", "clear")[random.integers(2)],),
                {f"n{k}": float(random.normal()) for k in range(5)},
                {f"w{k}": "abcdef"[random.integers(6)] for k in range(5)},
            )
            for _ in range(60)
        ]
        assert not any(one.warning for one in shortcuts(sample))


def test_rare_words_are_taken_together() -> None:
    """Forty makers of one image each tell nothing; V of the table as it stands would be 1."""
    sample = [one for k in range(20) for one in observed(1, "nodule", word=f"a{k}")]
    sample += [one for k in range(20) for one in observed(1, "clear", word=f"b{k}")]
    assert shortcuts(sample) == ()


def test_of_two_labels_that_complete_each_other_one_is_asked() -> None:
    found = shortcuts(observed(20, "a", 3.0, seed=1) + observed(20, "b", 0.0, seed=2))
    assert {one.label for one in found} == {"b"}
    three = shortcuts(observed(20, "a", 3.0) + observed(20, "b", 0.0) + observed(20, "c", 1.0))
    assert {one.label for one in three} == {"a", "b", "c"}


def test_images_without_a_finding_are_the_rest() -> None:
    (only,) = shortcuts(observed(20, "edema", 5.0, seed=1) + observed(20, "", 0.0, seed=2))
    assert (only.label, only.patients, only.warning) == ("edema", (20, 20), True)


def test_warnings_stand_first_and_the_strongest_of_them() -> None:
    sample = [
        Observation((label,), {"weak": weak + k % 7, "strong": strong + k % 7}, {"maker": maker})
        for label, weak, strong, maker in (("b", 1.0, 4.0, "x"), ("a", 0.0, 0.0, "y"))
        for k in range(40)
    ]
    found = shortcuts(sample)
    assert [one.attribute for one in found if one.warning] == ["maker", "strong"]
    assert [one.attribute for one in found if not one.warning] == ["weak"]
