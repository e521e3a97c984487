"""What a model is worth to a hospital's patients, with and without each group of them; how sure a difference is."""

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from client.evaluation import Looked
from client.images import Images, Split
from client.standing import GROUPS, Standing, difference, standing_of
from shared.judged import Better, Figure
from shared.study import MINIMAL, Task, parse_study
from shared.tasks.registry import kind_of

CLASSES = parse_study(MINIMAL)
VALUES = replace(CLASSES, task=Task(labels=("age",), kind="regression", options={"minimum": 0, "maximum": 1}))
Row = NDArray[np.float64]


def seen(owners: NDArray[np.int64], keys: tuple[bytes, ...], target: NDArray[np.generic]) -> Images:
    split = np.full(len(keys), Split.VALIDATION, np.int64)
    return Images(np.zeros((len(owners), 1, 1, 1), np.float32), target, owners, keys, split)


def keyed(number: int) -> tuple[bytes, ...]:
    return tuple(bytes([number - k, 7]) for k in range(number))


def errors(off: Row, owners: NDArray[np.int64] | None = None) -> Standing:
    """Of a model that is `off` by so much on each image, of one patient each by default."""
    whose = np.arange(len(off)) if owners is None else owners
    images = seen(whose, keyed(int(whose.max()) + 1), np.zeros(len(off), np.float32))
    looked = Looked(VALUES, images, Split.VALIDATION, np.stack([off, np.zeros(len(off))], axis=1))
    kind = kind_of(VALUES)
    return standing_of(looked, kind.judge(looked.counts().everybody).headline)


def test_each_patient_is_left_out_once_in_the_order_of_their_keys() -> None:
    found = errors(np.array([0.1, 0.2, 0.6]))
    assert (found.figure.name, found.patients) == ("mae", 3)
    assert found.figure.value == pytest.approx(0.3, abs=1e-5)
    assert found.without == pytest.approx((-0.15, -0.35, -0.4), abs=1e-5)  # keys run backwards; lower is better


def test_many_patients_go_in_groups_with_all_their_images() -> None:
    owners = np.repeat(np.arange(2 * GROUPS), 2)
    found = errors(np.where(owners == 0, 0.9, 0.0), owners)
    assert len(found.without) == GROUPS and found.patients == 2 * GROUPS
    assert found.without.count(0.0) == 1, "both images of the patient in one group"


def test_of_a_mean_the_interval_is_that_of_a_paired_t_test() -> None:
    """With at most GROUPS patients the jackknife is exact."""
    rng = np.random.default_rng(1)
    before, now = rng.uniform(0.1, 0.4, (2, 10))
    found, expected = difference(errors(now), errors(before)), ttest_rel(before, now).confidence_interval(0.95)
    assert found is not None
    assert found.value == pytest.approx(np.mean(before - now), abs=1e-5)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_groups_of_unlike_sizes_weigh_by_their_patients() -> None:
    """Worked by hand: 11 patients, of whom one group holds two; h is 11 ÷ 2 there and 11 elsewhere."""
    before, now = np.zeros(11), np.zeros(11)
    now[10], now[0] = 0.22, 0.22  # keys run backwards: the first and the last in their order, both in group 0
    found = difference(errors(now), errors(before))
    assert found is not None and found.value == pytest.approx(-0.04, abs=1e-5)
    variance = ((0.22 - 0.04) ** 2 / (11 / 2 - 1) + 9 * 0.04**2 / 10) / 10
    assert (found.high - found.low) / 2 == pytest.approx(2.262157 * variance**0.5, rel=1e-3)


def test_the_same_patients_say_more_of_a_difference_than_of_either_model() -> None:
    """Of areas under a curve, too: two models that err alike."""
    rng = np.random.default_rng(2)
    label = rng.permutation(np.arange(60) % 2)
    hard = label + rng.normal(0, 0.8, 60)
    found = [area(hard + rng.normal(0, 0.1, 60), label) for _ in range(2)]
    apart = difference(*found)
    figure = found[0].figure
    assert apart is not None and figure.low is not None and figure.high is not None
    assert apart.low < 0 < apart.high
    assert apart.high - apart.low < 0.5 * (figure.high - figure.low)


def area(score: Row, label: NDArray[np.int64]) -> Standing:
    images = seen(np.arange(len(label)), keyed(len(label)), label)
    chance = 1 / (1 + np.exp(-score))
    looked = Looked(CLASSES, images, Split.VALIDATION, np.stack([1 - chance, chance], axis=1))
    return standing_of(looked, kind_of(CLASSES).judge(looked.counts().everybody).headline)


def test_without_its_only_finding_a_hospital_has_no_difference() -> None:
    label = np.zeros(10, np.int64)
    label[3] = 1
    found = area(np.linspace(-1, 1, 10), label)
    assert found.figure.value is not None and found.without.count(None) == 1
    assert difference(found, found) is None


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_other_patients_and_one_alone_are_not_compared(better: Better) -> None:
    one = Standing(Figure("f", 0.5, "F", better=better), (0.5, 0.5), "aa", 2)
    assert difference(one, one) == (0, 0, 0)
    assert difference(one, replace(one, whose="bb")) is None
    alone = replace(one, without=(0.5,), patients=1)
    assert difference(alone, alone) is None
    images = errors(np.zeros(4), np.array([0, 0, 1, 2])), errors(np.zeros(4), np.array([0, 1, 1, 2]))
    assert images[0].whose != images[1].whose, "the same patients with other images"


def test_a_difference_is_negative_where_the_later_model_is_worse() -> None:
    worse = difference(errors(np.full(10, 0.4)), errors(np.full(10, 0.1)))
    assert worse is not None and worse.value == pytest.approx(-0.3, abs=1e-5)
