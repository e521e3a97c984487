"""What a hospital's survey says, and what it is silent about because too few patients stand behind it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.images import Images, Split
from client.survey import IMAGES_READ, VALUES_READ, histogram, survey_of
from shared.reasons import Reason
from shared.study import MINIMAL, parse_study
from shared.survey import IMAGE_UNITS, INTENSITY_BINS, SURVEY_COUNTS, survey_plain
from shared.tasks.registry import kind_of

KIND = kind_of(parse_study(MINIMAL))


def images_of(people: list[tuple[int, float, int]], splits: list[Split] | None = None) -> Images:
    """Per patient: label, brightness of the images (2 × 2), how many of them; in training unless `splits` says."""
    owner = [number for number, (_, _, count) in enumerate(people) for _ in range(count)]
    return Images(
        pixels=np.array([np.full((1, 2, 2), people[one][1]) for one in owner], np.float32).reshape(-1, 1, 2, 2),
        target=np.array([people[one][0] for one in owner], np.int64),
        patient=np.array(owner, np.int64),
        keys=tuple(bytes([number]) * 32 for number in range(len(people))),
        split=np.array(splits or [Split.TRAIN] * len(people), np.int64),
    )


def bins(**units: int) -> tuple[int, ...]:
    """64 bins; `b3=7` puts 7 into the fourth."""
    return tuple(units.get(f"b{number}", 0) for number in range(INTENSITY_BINS))


def test_counts_of_enough_patients_are_told() -> None:
    """Three patients of one label with two images each, two of the other with one; validation patients do not count."""
    people = [(0, 0.5, 2)] * 3 + [(1, 0.5, 1)] * 2 + [(1, 0.5, 9)]
    images = images_of(people, [Split.TRAIN] * 5 + [Split.VALIDATION])
    found = survey_of(images, KIND, {Reason.TRUNCATED: 4}, smallest=2)
    assert (found.splits, found.labels, found.hidden_labels) == ((8, 9, 0), (6, 2), 0)
    assert found.skipped == {Reason.TRUNCATED: 4}
    assert (found.intensities, found.hidden_bins) == (bins(b32=8 * IMAGE_UNITS), 0)


def test_a_label_of_few_patients_is_hidden_and_the_other_with_it() -> None:
    """However many images they have: 90 of two patients. The other alone would tell them, as all training images are
    counted."""
    images = images_of([(0, 0.5, 1)] * 20 + [(1, 0.5, 45)] * 2)
    found = survey_of(images, KIND, {}, smallest=3)
    assert (found.labels, found.hidden_labels) == ((0, 0), 2)
    assert survey_of(images, KIND, {}, smallest=2).labels == (20, 90)


def test_a_label_that_nobody_has_is_no_small_count() -> None:
    found = survey_of(images_of([(0, 0.5, 1)] * 3), KIND, {}, smallest=3)
    assert (found.labels, found.hidden_labels) == ((3, 0), 0)


def test_a_bin_of_few_patients_is_hidden_never_alone() -> None:
    """Bins 16, 32 and 48 with 1, 4 and 3 patients: the first is hidden, and the smaller of the others with it."""
    images = images_of([(0, 0.25, 5)] + [(0, 0.5, 1)] * 4 + [(0, 0.75, 1)] * 3)
    found = survey_of(images, KIND, {}, smallest=3)
    assert (found.intensities, found.hidden_bins) == (bins(b32=4 * IMAGE_UNITS), 2)


def test_two_hidden_bins_hide_each_other() -> None:
    images = images_of([(0, 0.25, 1), (0, 0.75, 1)] + [(0, 0.5, 1)] * 4)
    found = survey_of(images, KIND, {}, smallest=3)
    assert (found.intensities, found.hidden_bins) == (bins(b32=4 * IMAGE_UNITS), 2)


def test_a_hospital_of_few_patients_says_nothing_of_labels_and_brightness() -> None:
    found = survey_of(images_of([(0, 0.1, 3), (1, 0.9, 2)]), KIND, {}, smallest=5)
    assert (found.splits, found.labels, found.intensities) == ((5, 0, 0), (0, 0), bins())
    assert (found.hidden_labels, found.hidden_bins) == (2, 2)


def test_without_training_patients_all_is_nought() -> None:
    found = survey_of(images_of([(1, 0.5, 2)], [Split.TEST]), KIND, {}, smallest=5)
    assert (found.splits, found.labels, found.intensities) == ((0, 0, 2), (0, 0), bins())
    assert (found.hidden_labels, found.hidden_bins) == (0, 0)


def test_the_smallest_count_of_one_hides_nothing() -> None:
    found = survey_of(images_of([(0, 0.1, 1), (1, 0.9, 1)]), KIND, {}, smallest=1)
    assert (found.labels, found.hidden_labels, found.hidden_bins) == ((1, 1), 0, 0)
    assert found.intensities == bins(b6=IMAGE_UNITS, b57=IMAGE_UNITS)


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from((0.1, 0.5, 0.9)), st.integers(1, 3)), max_size=30))
def test_no_count_that_is_told_rests_on_few_patients(people: list[tuple[int, float, int]]) -> None:
    found = survey_of(images_of(people), KIND, {}, smallest=4)
    for label in range(2):
        if found.labels[label]:
            assert sum(own == label for own, _, _ in people) >= 4
    for brightness in (0.1, 0.5, 0.9):
        if found.intensities[int(brightness * INTENSITY_BINS)]:
            assert sum(own == brightness for _, own, _ in people) >= 4
    told = sum(found.labels)
    assert told in (0, found.splits[0]), "one label alone never tells the other"


def test_values_fall_into_bins_and_one_into_the_last() -> None:
    tensor = np.array([[[0.0, 1.0], [1 / 64, 63 / 64 - 1e-6]]], np.float32)
    quarter = IMAGE_UNITS // 4
    assert tuple(histogram(tensor)) == bins(b0=quarter, b1=quarter, b62=quarter, b63=quarter)


def test_every_image_weighs_the_same_whatever_its_size() -> None:
    for shape in ((1, 3, 5), (1, 300, 301), (1, 2, 300, 301), (3, 64, 64)):
        units = histogram(np.random.default_rng(1).random(shape, np.float32))
        assert abs(int(units.sum()) - IMAGE_UNITS) <= INTENSITY_BINS // 2
        if np.prod(shape) > 1000:
            assert units == pytest.approx(np.full(64, 1024), rel=0.35)


def test_of_a_large_image_evenly_taken_values_are_read() -> None:
    """Half black, half white, in rows, in columns and in single columns: the share does not lean."""
    half = np.arange(2048) >= 1024
    for white in (half[:, None] & True, half[None], np.arange(2048)[None] % 32 < 16):
        tensor = np.broadcast_to(white, (2048, 2048)).astype(np.float32)[None]
        assert tensor.size > VALUES_READ
        assert histogram(tensor)[[0, 63]] == pytest.approx(IMAGE_UNITS / 2, rel=0.002)


def test_of_many_images_some_stand_for_all() -> None:
    """Twice as many as are read: every second one, for two."""
    count = 2 * IMAGES_READ
    images = Images(
        pixels=np.tile(np.array([0.25, 0.75], np.float32), IMAGES_READ).reshape(count, 1, 1, 1),
        target=np.zeros(count, np.int64),
        patient=np.arange(count),
        keys=tuple(number.to_bytes(32, "big") for number in range(count)),
        split=np.zeros(count, np.int64),
    )
    assert survey_of(images, KIND, {}, smallest=5).intensities == bins(b16=count * IMAGE_UNITS)


def test_a_survey_is_as_long_as_the_plan_says() -> None:
    assert len(survey_plain(survey_of(images_of([(0, 0.5, 1)] * 6), KIND, {}, 5)).counts) == SURVEY_COUNTS + 2


FINDINGS = kind_of(
    parse_study(MINIMAL.replace('labels = ["clear", "nodule"]', 'kind = "multilabel"\nlabels = ["a", "b", "c"]'))
)


def findings_of(rows: list[tuple[int, int, int]]) -> Images:
    """One training image of each patient, with these findings."""
    images = images_of([(0, 0.5, 1)] * len(rows))
    return replace(images, target=np.array(rows, np.int64).reshape(-1, 3))


def test_a_finding_of_few_patients_is_hidden_alone() -> None:
    found = survey_of(findings_of([(1, 0, 1)] * 4 + [(0, 1, 0)] * 2 + [(0, 0, 0)] * 3), FINDINGS, {}, smallest=3)
    assert (found.labels, found.hidden_labels) == ((4, 0, 4), 1)


def test_a_finding_that_few_patients_lack_is_hidden_too() -> None:
    found = survey_of(findings_of([(1, 1, 0)] * 6 + [(0, 1, 0)]), FINDINGS, {}, smallest=2)
    assert (found.labels, found.hidden_labels) == ((0, 7, 0), 1)
