import numpy as np
import pytest

from shared.counts import decode_counts, encode_counts
from shared.finding_counts import UNKNOWN, Layout
from shared.metrics import BinaryCounts

LAYOUTS = [Layout(), Layout(clusters=True), Layout(noise=True)]
Y, PATIENTS = np.array([1, 0, 1, 0]), np.arange(4)


def summed(values: list[int], hospitals: int) -> list[int]:
    """As they are added under masks: mod 2^64."""
    return decode_counts(encode_counts(values) * np.uint64(hospitals))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_come_back(layout: Layout) -> None:
    values = layout.write(np.array([0.9, 0.2, 0.6, 0.7]), Y, PATIENTS)
    assert len(values) == layout.length
    assert (
        layout.read(values).counts.to_integers()
        == BinaryCounts.of(np.array([0.9, 0.2, 0.6, 0.7]), Y, PATIENTS).to_integers()
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("positives", "images"), [(50_000, 1), (50_000, 200), (1_000, 1_000)])
def test_two_hundred_hospitals_of_a_hundred_thousand_images_fit(layout: Layout, positives: int, images: int) -> None:
    labels, patients = (np.arange(100_000) < positives).astype(np.int64), np.arange(100_000) // images
    scores = np.random.default_rng(0).random(patients.max() + 1)[patients]
    one = layout.read(layout.write(scores, labels, patients)).counts
    all_ = layout.read(summed(layout.write(scores, labels, patients), 200)).counts
    assert all_.pair_variance == 200 * one.pair_variance
    assert (all_.pairs, all_.images) == (200 * one.pairs, 20_000_000)
    assert all_.stratified_auc == one.stratified_auc


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_score_that_is_no_number_says_nothing(layout: Layout) -> None:
    found, same = (layout.write(np.array([0.9, 0.2, score, 0.7]), Y, PATIENTS) for score in (np.nan, UNKNOWN))
    assert found == same
    assert layout.read(found).counts.stratified_auc == 0.75
