"""Reports of kinds other than one finding: a measured value, several findings, several classes."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from server.report import verdict
from server.report.figures import Dot
from server.report.html import render
from server.report.judged import LEAST_IMAGES, metrics_without_finding, shown_group
from server.report.panels import group_dots, group_rows, panel, personal_rows, value
from server.report.result import Baseline, Baselines, Result, StudyId
from shared.judged import Figure, Judged
from shared.study import MINIMAL, Study, parse_study, study_hash
from shared.tasks.registry import kind_of

TWO = 'labels = ["clear", "nodule"]'
AGE = 'kind = "regression"\nlabels = ["age"]\n[task.options]\nminimum = 0\nmaximum = 100\nunit = "years"'
SIDES = 'kind = "multilabel"\nlabels = ["left", "right"]'
CLASSES = 'labels = ["a", "b", "c"]'
FINDING = CLASSES + '\nfinding = ["b", "c"]'
SUBGROUPS = '[evaluation]\nsubgroups = ["sex"]\n'


def study_of(task: str) -> Study:
    return parse_study(MINIMAL.replace(TWO, task) + SUBGROUPS)


def judged_of(study: Study, seed: int = 0, n: int = 120, skill: float = 1.0) -> Judged:
    """What the kind makes of random images that the model tells with so much skill."""
    rng, kind, labels = np.random.default_rng(seed), kind_of(study), len(study.task.labels)
    noise = rng.normal(size=(n, max(1, labels)))
    target: NDArray[np.generic]
    if kind.target == "value":
        target = true = rng.random(n)
        measures = np.stack([np.clip(true + 0.2 * noise[:, 0] / skill, 0, 1), true], axis=1)
    elif kind.target == "classes":
        target = present = rng.integers(0, 2, (n, labels))
        measures = 1 / (1 + np.exp(-(skill * (2 * present - 1) + noise)))
    else:
        target = classes = rng.integers(0, labels, n)
        raised = np.exp(skill * np.eye(labels)[classes] + noise)
        measures = raised / raised.sum(axis=1, keepdims=True)
    counts = kind.count(measures, target, np.arange(n) // 2)
    return kind.judge(counts, counts)


def run_of(good: Result, task: str, **fields: object) -> Result:
    study = study_of(task)
    rows = tuple(replace(row, validation=20.0 - row.round, validation_auc=None) for row in good.rounds.each)
    found = replace(
        good,
        study=StudyId(name=study.name, hash=study_hash(study).hex(), text=study),
        rounds=replace(good.rounds, each=rows),
        judged=judged_of(study),
        metrics=None,
        baselines=None,
        survey=None,
    )
    return replace(found, **fields)


def baseline(judged: Judged) -> Baseline:
    return Baseline(stratified_auc=None, low=None, high=None, pooled_auc=None, sites={}, judged=judged)


def words_of(result: Result) -> str:
    page = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", render(result), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def verdict_of(result: Result) -> str:
    return " ".join(f"{found.level}: {found.text} {' '.join(found.items)}" for found in verdict.findings(result))


@pytest.mark.parametrize("task", [AGE, SIDES, CLASSES, FINDING], ids=["value", "findings", "classes", "finding"])
class TestAnyKind:
    def test_every_figure_of_the_record_is_shown(self, good: Result, task: str) -> None:
        result, text = run_of(good, task), words_of(run_of(good, task))
        assert result.judged is not None
        for figure in result.judged.figures:
            assert figure.shown in text
            assert value(figure) in text
            assert figure.of in text
        for table in result.judged.tables:
            assert table.title in text or table.title.startswith("At the operating point")
        assert not re.search(r"\b(None|nan|Undefined)\b", text)

    def test_a_run_without_figures_says_so(self, good: Result, task: str) -> None:
        text = words_of(run_of(good, task, judged=None))
        assert "There are no figures on held-out patients" in text
        assert "The model was not judged" in text

    def test_baselines_are_compared_by_the_headline(self, good: Result, task: str) -> None:
        study = study_of(task)
        both = {"north": baseline(judged_of(study, skill=0.2)), "city": baseline(judged_of(study, skill=0.1))}
        result = run_of(good, task, baselines=Baselines(alone=both, pooled=baseline(judged_of(study, skill=9))))
        assert "The federation beats its best member" in verdict_of(result)
        assert "of north alone" in verdict_of(result)
        better = {"north": baseline(judged_of(study, skill=9))}
        worse = replace(result, baselines=Baselines(alone=better, pooled=None))
        assert "The federation does not beat its best member" in verdict_of(worse)
        assert "pooled in one place" in words_of(result)


def test_lower_is_better_where_the_figure_says_so(good: Result) -> None:
    text = words_of(run_of(good, AGE))
    assert "Mean absolute error, age (lower is better)" in text
    assert re.search(r"Mean absolute error, age [0-9.]+ years 95 % interval", text)
    assert "AUC" not in text.partition("The study as agreed")[0]


def test_several_labels_stand_in_one_table() -> None:
    found = panel(judged_of(study_of(SIDES)))
    assert found is not None
    (sheet,) = found.by_label
    assert sheet.columns == ("Figure", "left", "right")
    assert sheet.rows[0][0] == "Site-stratified AUC"
    assert [name for name, _, _ in found.rows] == ["Mean site-stratified AUC"]
    assert [name for name, _ in found.charts][:3] == ["ROC", "Precision and recall", "Calibration"]


def test_intervals_stand_in_the_cells_of_a_label(good: Result) -> None:
    figures = tuple(Figure("dice", 0.5 + k / 10, "Dice", 0.4, 0.99, of=label) for k, label in enumerate("abc"))
    text = words_of(run_of(good, SIDES, judged=Judged("segmentation", 9, figures)))
    assert "Of Dice a 0.500 (0.400 to 0.990) b 0.600 (0.400 to 0.990) c" in text


def test_what_is_drawn_elsewhere_is_not_drawn_again() -> None:
    judged = judged_of(study_of(FINDING))
    found, whole = panel(judged, drawn=True), panel(judged)
    assert found is not None and whole is not None
    assert {name for name, _ in whole.charts} - {name for name, _ in found.charts} == {"ROC", "Calibration"}
    assert len(whole.tables) == len(found.tables) + 1


class TestSubgroups:
    @staticmethod
    def group(low: float, found: float, high: float, images: int = 100) -> Judged:
        return Judged("classification", images, (Figure("stratified_auc", found, "Site-stratified AUC", low, high),))

    def run(self, good: Result, groups: Mapping[str, Judged], better: str = "higher") -> Result:
        whole = replace(self.group(0.85, 0.9, 0.95).headline, better=better)
        turned = {
            name: replace(judged, figures=(replace(judged.headline, better=better),)) for name, judged in groups.items()
        }
        return replace(good, judged=Judged("classification", 300, (whole,)), groups=turned, hidden={"sex M": 2})

    def test_one_that_is_worse_beyond_chance_is_a_problem(self, good: Result) -> None:
        result = self.run(good, {"sex F": self.group(0.6, 0.7, 0.8), "sex M": self.group(0.85, 0.92, 0.99)})
        text = verdict_of(result)
        assert "bad: For some patients the model is worse than for all" in text
        assert "sex F: 0.700 (0.600 to 0.800)" in text
        assert "sex M: " not in text

    def test_one_below_the_figure_but_not_the_interval_is_a_note(self, good: Result) -> None:
        assert "note: For some patients" in verdict_of(self.run(good, {"sex F": self.group(0.7, 0.8, 0.88)}))

    def test_one_whose_interval_holds_the_figure_is_nothing(self, good: Result) -> None:
        assert "For some patients" not in verdict_of(self.run(good, {"sex F": self.group(0.7, 0.8, 0.91)}))

    def test_where_lower_is_better_worse_is_higher(self, good: Result) -> None:
        low, high = self.group(0.6, 0.7, 0.8), self.group(0.96, 0.97, 0.98)
        text = verdict_of(self.run(good, {"sex F": low, "sex M": high}, better="lower"))
        assert "sex M: 0.970" in text and "sex F: " not in text

    def test_they_are_shown_with_who_kept_them_back(self, good: Result) -> None:
        few = shown_group(self.group(0.4, 0.5, 0.6, images=LEAST_IMAGES - 1))
        result = self.run(good, {"sex F": self.group(0.7, 0.8, 0.91), "sex M": few})
        first, second = group_rows(result)
        assert (first.images, first.value, first.interval, first.note) == ("100", "0.800", "0.700 to 0.910", "")
        assert (second.images, second.value) == ("fewer than 20", "–")
        assert second.note == "kept back by 2 hospitals with few such patients; too few to show"
        assert group_dots(result) == [Dot("sex F", 0.8, 0.7, 0.91), Dot("all", 0.9, 0.85, 0.95, ours=True)]
        assert "Subgroup by subgroup" in words_of(result)

    def test_of_few_images_nothing_is_in_the_record(self) -> None:
        few = shown_group(self.group(0.4, 0.5, 0.6, images=LEAST_IMAGES - 1))
        assert (few.images, few.headline.value, few.headline.low, few.tables) == (0, None, None, ())
        enough = self.group(0.4, 0.5, 0.6, images=LEAST_IMAGES)
        assert shown_group(enough) is enough


def test_models_of_hospitals_stand_beside_the_common_one(good: Result) -> None:
    study = study_of(AGE)
    result = run_of(good, AGE, personal=judged_of(study, skill=5))
    rows = {name: (common, own) for name, common, own in personal_rows(result)}
    common, own = rows["Mean absolute error, age (lower is better)"]
    assert float(own.split()[0]) < float(common.split()[0])
    assert "A model for each hospital" in words_of(result)
    assert "A model for each hospital" not in words_of(run_of(good, AGE))


def test_drift_votes_and_rounds_taken_back_have_columns_where_there_are_any(good: Result) -> None:
    text = words_of(good)
    assert "harmful by" not in text and "drift" not in text.partition("The study as agreed")[0]
    row = replace(good.rounds.each[0], drift=0.25, harmful=3, votes=4, taken_back=True)
    text = words_of(replace(good, rounds=replace(good.rounds, each=(row, *good.rounds.each[1:]))))
    assert "3 of 4, taken back" in text and "0.250" in text


def test_classes_without_a_finding_have_metrics_of_their_mean() -> None:
    judged = judged_of(study_of(CLASSES))
    found = metrics_without_finding(judged, {})
    assert (found.stratified_auc, found.n) == (judged.headline.value, 120)
    assert found.operating_point is None and found.pooled_auc is None
