"""Whole runs of the real federation for kinds with several labels and for a measured value."""

import re
from pathlib import Path

import pytest

from server.observer import RoundFinished, RunStarted
from server.report.html import render
from server.report.result import read_result, write_result
from shared.study import Study, parse_study
from simulations.faults import LocalLink
from simulations.local import LocalFederation, Recorder
from tests.federation.conftest import STUDY

TASK = 'labels = ["clear", "nodule"]'
MULTILABEL = """kind = "multilabel"
labels = ["nodule left", "nodule right"]
mirrored = [["nodule left", "nodule right"]]"""
REGRESSION = """kind = "regression"
labels = ["age"]
[task.options]
minimum = 0
maximum = 120
unit = "years\""""
POLICY = """
[evaluation]
smallest_count = 2
per_site_figures = true
[privacy]
least = "off"
[aggregation]
min_cohort = 2
colluders = 0
[studies]
ask = false
"""


def study(task: str) -> Study:
    text = STUDY.replace(TASK, task).replace("local_steps = 2", 'local_steps = 2\nclass_weights = "balanced"')
    return parse_study(text + 'subgroups = ["sex"]\n')


@pytest.mark.parametrize(
    ("task", "name", "words", "labels"),
    [
        (MULTILABEL, "macro_auc", "Mean site-stratified AUC", {"nodule left", "nodule right"}),
        (REGRESSION, "mae", "Mean absolute error, age (years)", {"age"}),
    ],
)
def test_a_run_of_any_kind_is_judged_and_shown(
    local: LocalFederation, tmp_path: Path, task: str, name: str, words: str, labels: set[str]
) -> None:
    for site in local.names:
        (local.home(site).path / "policy.toml").write_text(POLICY)
    recorder = Recorder()
    _, result = local.run(LocalLink(local.sites()), study(task), recorder=recorder)
    assert (result.status, result.because) == ("finished", "")
    judged = result.judged
    assert judged is not None
    assert judged.headline.name == name
    assert judged.headline.value is not None
    assert judged.images == result.sites.images.splits["test"]
    assert result.survey is not None
    assert set(result.survey.labels) == set(result.survey.class_weights) == labels
    assert result.metrics is None
    assert set(result.own) == set(local.names)
    assert {figure.name for figure in result.own.values()} == {name}
    women, men, others = (result.groups[f"sex {sex}"] for sex in ("F", "M", "other"))
    assert women.images + men.images <= judged.images
    assert others.images == 0

    started = next(event for event in recorder.events if isinstance(event, RunStarted))
    rounds = [event.figure for event in recorder.events if isinstance(event, RoundFinished)]
    assert started.figure == words
    assert rounds == [row.validation for row in result.rounds.each]
    assert result.rounds.each[0].validation_auc is None

    page = render(result)
    assert page == render(read_result(write_result(result, tmp_path)))
    assert judged.headline.shown in page
    assert "Subgroup by subgroup" in page
    assert not re.search(r"\b(None|nan|Undefined)\b", re.sub(r"<svg.*?</svg>|<style.*?</style>", "", page, flags=re.S))
