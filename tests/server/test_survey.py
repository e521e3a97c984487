"""What the coordinator makes of the sum of all surveys."""

import math
from typing import Any

import pytest
from msgspec.structs import replace

from server.survey import class_weights, surveyed
from shared.study import MINIMAL, Study, parse_study
from shared.survey import INTENSITY_BINS, Survey

STUDY = parse_study(MINIMAL)


def study_with(weights: Any) -> Study:
    return replace(STUDY, training=replace(STUDY.training, class_weights=weights))


def survey(labels: tuple[int, ...] = (300, 100), **units: int) -> Survey:
    bins = tuple(units.get(f"b{number}", 0) for number in range(INTENSITY_BINS))
    return Survey((400, 0, 0), labels, {}, 2, 5, bins)


@pytest.mark.parametrize(
    ("asked", "labels", "expected"),
    [
        ("equal", (300, 100), (1.0, 1.0)),
        ((1.0, 4.0), (300, 100), (1.0, 4.0)),
        ("balanced", (300, 100), (400 / 600, 400 / 200)),
        ("balanced", (0, 0), (1.0, 1.0)),  # every hospital hid them
        ("balanced", (300, 0), (301 / 600, 301 / 2)),  # nobody has any: finite
    ],
)
def test_class_weights(asked: Any, labels: tuple[int, int], expected: tuple[float, float]) -> None:
    assert class_weights(study_with(asked), survey(labels)) == pytest.approx(expected)


def test_figures_of_a_survey() -> None:
    """Half black, a quarter at 32.5 / 64, a quarter white."""
    found = surveyed(STUDY, survey(b0=20, b32=10, b63=10), (1.0, 2.0))
    assert found.labels == {"clear": 300, "nodule": 100}
    assert found.class_weights == {"clear": 1.0, "nodule": 2.0}
    assert (found.hidden_labels, found.hidden_bins) == (2, 5)
    assert (found.intensities[0], found.intensities[32], found.intensities[63]) == (0.5, 0.25, 0.25)
    assert sum(found.intensities) == 1
    middle = 32.5 / 64
    mean = (middle + 1) / 4
    assert found.mean == pytest.approx(mean)
    assert found.deviation == pytest.approx(math.sqrt((middle**2 + 1) / 4 - mean**2))


def test_a_survey_that_hid_every_bin_has_no_figures() -> None:
    found = surveyed(STUDY, survey(), (1.0, 1.0))
    assert (found.intensities, found.mean, found.deviation) == ((), None, None)


FINDINGS = parse_study(
    MINIMAL.replace('labels = ["clear", "nodule"]', 'kind = "multilabel"\nlabels = ["a", "b", "c", "d"]')
)


def test_findings_that_may_be_there_together_weigh_by_who_lacks_them() -> None:
    asked = replace(FINDINGS, training=replace(FINDINGS.training, class_weights="balanced"))
    found = survey((100, 1, 0, 400))
    assert class_weights(asked, found) == (3.0, 100.0, 1.0, 1.0)


def test_any_number_of_labels_is_balanced() -> None:
    asked = parse_study(
        MINIMAL.replace('"nodule"]', '"nodule", "mass"]').replace("batch", 'class_weights = "balanced"\nbatch')
    )
    assert class_weights(asked, survey((10, 20, 30))) == pytest.approx((2.0, 1.0, 2 / 3))


def test_a_kind_without_labels_has_no_weights() -> None:
    none = replace(STUDY, task=replace(STUDY.task, kind="enhancement", labels=(), options={}))
    assert class_weights(none, survey(())) == ()
    assert surveyed(none, survey(()), ()).labels == {}
