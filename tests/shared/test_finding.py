"""Every figure of one finding, against counts by hand and against a bootstrap of patients."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.finding import AS_CLUSTERS, AS_IMAGES, Finding
from shared.judged import Figure
from shared.metrics import BINS, BinaryCounts
from shared.prefix_noise import spread
from shared.shares import ClassClusters

Ints = NDArray[np.int64]


def finding(scores: object, labels: object, patients: object = None, *, clusters: bool = True) -> Finding:
    scores, labels = np.array(scores, np.float64), np.array(labels, np.int64)
    owners = np.arange(len(scores)) if patients is None else np.array(patients, np.int64)
    sums = ClassClusters.of(scores, labels, owners) if clusters else None
    return Finding(BinaryCounts.of(scores, labels, owners), sums)


def named(figures: tuple[Figure, ...]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


#: 3 of 4 found; 1 of 6 alarmed
SCORES, LABELS = [0.9, 0.8, 0.7, 0.2, 0.75, 0.3, 0.25, 0.1, 0.1, 0.1], [1] * 4 + [0] * 6
#: its only positive at 0.6: all above are called
CHOSEN = finding([0.6], [1])


def patients_of(patients: int, images: int, seed: int = 0) -> tuple[NDArray[np.float64], Ints, Ints]:
    """Scores, labels and owners: what a patient's images share is as much as what they do not."""
    rng = np.random.default_rng(seed)
    owner = np.arange(patients).repeat(images)
    labels = (rng.random(patients) < 0.4).astype(np.int64)[owner]
    logits = 1.5 * labels + rng.normal(size=patients)[owner] + rng.normal(size=len(owner)) - 0.75
    return 1 / (1 + np.exp(-logits)), labels, owner


def test_figures_at_the_operating_point_by_hand() -> None:
    found = named(finding(SCORES, LABELS).figures(CHOSEN, 0.9))
    expected = {
        "sensitivity": 3 / 4,
        "specificity": 5 / 6,
        "ppv": 3 / 4,
        "npv": 5 / 6,
        "accuracy": 8 / 10,
        "f1": 3 / 4,
        "balanced_accuracy": (3 / 4 + 5 / 6) / 2,
        "youden": 3 / 4 + 5 / 6 - 1,
        "stratified_auc": 20 / 24,
        "positives": 4,
    }
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    threshold = found["threshold"].value
    assert threshold is not None and 0.58 < threshold <= 0.6


def test_thresholds_come_from_the_counts_they_are_chosen_on() -> None:
    found = finding(SCORES, LABELS)
    assert named(found.figures(finding([0.15], [1]), 0.9))["sensitivity"].value == 1.0
    assert "sensitivity" not in named(found.figures(None, 0.9))


def test_nobody_to_choose_on_leaves_no_figures_at_the_point() -> None:
    found = finding(SCORES, LABELS)
    nobody = finding([0.2], [0])
    figures = named(found.figures(nobody, 0.9))
    assert figures["sensitivity"].value is figures["f1"].value is figures["threshold"].value is None
    assert figures["stratified_auc"].value is not None
    assert found.table(nobody, 0.9, ("clear", "nodule")) == ()


def test_the_table_says_whom_its_intervals_count() -> None:
    for clusters, note in ((True, AS_CLUSTERS), (False, AS_IMAGES)):
        table = finding(SCORES, LABELS, clusters=clusters).table(CHOSEN, 0.9, ("clear", "nodule"))[0]
        assert table.rows == (("nodule", 3, 1), ("clear", 1, 5))
        assert table.columns == ("truth", "called nodule", "called clear")
        assert table.note == note


@pytest.mark.parametrize("name", ["stratified_auc", "sensitivity", "specificity", "accuracy", "f1", "youden"])
def test_intervals_are_at_least_as_wide_as_a_bootstrap_of_patients(name: str) -> None:
    scores, labels, owner = patients_of(120, 4)
    whole, rng = named(finding(scores, labels, owner).figures(CHOSEN, 0.9))[name], np.random.default_rng(1)
    rows = owner.reshape(120, 4) * 4 + np.arange(4)
    values = []
    for _ in range(300):
        drawn = rows[rng.integers(0, 120, 120)].ravel()
        again = finding(scores[drawn], labels[drawn], np.arange(120).repeat(4), clusters=False)
        values.append(named(again.figures(CHOSEN, 0.9))[name].value)
    assert whole.low is not None and whole.high is not None
    width = float(np.diff(np.quantile(np.array(values, np.float64), [0.025, 0.975]))[0])
    assert 0.85 < (whole.high - whole.low) / width < 1.6


def test_without_clusters_intervals_are_those_of_images() -> None:
    scores, labels, owner = patients_of(120, 4)
    exact, naive = (
        named(finding(scores, labels, owner, clusters=clusters).figures(CHOSEN, 0.9))["specificity"]
        for clusters in (True, False)
    )
    assert None not in (exact.low, exact.high, naive.low, naive.high)
    assert (exact.high or 0) - (exact.low or 0) > 1.3 * ((naive.high or 0) - (naive.low or 0))


def test_noise_leaves_areas_sensitivity_and_specificity_and_nothing_that_it_drowns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    own = BinaryCounts.of(1 / (1 + np.exp(-rng.normal(2 * labels - 1, 1))), labels, np.arange(2000))
    noise = rng.normal(size=(2, BINS)) @ spread(BINS).T
    noisy = Finding(BinaryCounts.noisy(own.positives + noise[0], own.negatives + noise[1], 1.0))
    found = named(noisy.figures(noisy, 0.9))
    for name in ("stratified_auc", "pooled_auc", "sensitivity", "specificity"):
        figure = found[name]
        assert figure.value is not None and figure.low is not None and figure.high is not None
        assert figure.low < figure.value < figure.high
    drowned = ("average_precision", "brier_score", "calibration_slope", "ppv", "npv", "f1", "accuracy", "youden")
    assert {name: found[name].value for name in drowned} == dict.fromkeys(drowned)
    assert noisy.curves("x") == noisy.decision() == ()
