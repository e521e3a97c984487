"""The survey, through masks: what the hospitals hold together, what they hide, and runs that are for it only."""

from collections import Counter

import pytest
from msgspec.structs import replace

from client.audit import Audit
from client.survey import survey_of
from client.workbench import prepare_for
from server.report.html import render
from server.report.result import Result
from server.report.verdict import findings, headline
from shared.study import Study
from shared.survey import IMAGE_UNITS, Survey
from shared.tasks.registry import kind_of
from simulations.faults import LocalLink, Moment, lost
from simulations.local import LocalFederation


def set_smallest(local: LocalFederation, count: int) -> None:
    """Every hospital's policy says so."""
    for name in local.names:
        path = local.home(name).path / "policy.toml"
        path.write_text(path.read_text().replace("[evaluation]\n", f"[evaluation]\nsmallest_count = {count}\n"))


def own(local: LocalFederation, study: Study, smallest: int) -> list[Survey]:
    """What each hospital would say alone."""
    found = [prepare_for(local.home(name), study) for name in local.names]
    return [survey_of(one.images, kind_of(study), one.counts.skipped, smallest) for one in found]


def answered(local: LocalFederation) -> Counter[str]:
    """How often any hospital answered each step."""
    entries = [entry for name in local.names for entry in Audit(local.home(name).path / "audit.jsonl").entries()]
    return Counter(str(entry.facts["purpose"]) for entry in entries if entry.event == "answered")


def surveyed(local: LocalFederation, study: Study) -> Result:
    return local.run(LocalLink(local.sites()), study, purpose="survey")[1]


@pytest.mark.parametrize("smallest", [1, 3, 5])
def test_the_sum_is_that_of_what_each_tells(local: LocalFederation, study: Study, smallest: int) -> None:
    set_smallest(local, smallest)
    each, result = own(local, study, smallest), surveyed(local, study)
    assert result.survey is not None
    found = result.survey
    assert tuple(found.labels.values()) == tuple(map(sum, zip(*(one.labels for one in each), strict=True)))
    assert found.hidden_labels == sum(one.hidden_labels for one in each)
    assert found.hidden_bins == sum(one.hidden_bins for one in each)
    units = sum(sum(one.intensities) for one in each)
    assert sum(found.intensities) == (pytest.approx(1) if units else 0)
    train = sum(one.splits[0] for one in each)
    assert result.sites.images.splits["train"] == train, "never hidden"
    if smallest == 1:
        assert (found.hidden_labels, found.hidden_bins, sum(found.labels.values())) == (0, 0, train)
        assert units == pytest.approx(train * IMAGE_UNITS, rel=0.001)
        assert found.mean is not None
        assert 0 < found.mean < 1


def test_hospitals_of_few_patients_hide_their_labels(local: LocalFederation, study: Study) -> None:
    """Fourteen patients each, of whom some six train: nobody has five with a nodule."""
    set_smallest(local, 8)
    found = surveyed(local, study).survey
    assert found is not None
    assert set(found.labels.values()) == {0}
    assert found.hidden_labels > 0


def test_balanced_weights_stay_finite_whatever_is_hidden(local: LocalFederation, study: Study) -> None:
    set_smallest(local, 8)
    balanced = replace(study, training=replace(study.training, class_weights="balanced"))
    found = surveyed(local, balanced).survey
    assert found is not None
    assert found.class_weights == {"clear": 1.0, "nodule": 1.0}


def test_a_run_for_the_survey_trains_nothing(local: LocalFederation, study: Study) -> None:
    result = surveyed(local, study)
    assert (result.status, result.because, result.purpose) == ("finished", "only the survey was asked for", "survey")
    assert (result.rounds.count, result.metrics) == (0, None)
    assert result.aggregation is not None
    assert (result.aggregation.cohort, result.aggregation.vector_length) == (3, 0)
    assert set(answered(local)) == {"survey", "confirm", "unmask"}
    assert not (local.folder / "run" / "model.safetensors").exists()


def test_its_report_says_so_and_judges_no_model(local: LocalFederation, study: Study) -> None:
    result = surveyed(local, study)
    assert headline(result) == "The survey is done; nothing was trained"
    assert [(one.level, one.text) for one in findings(result)] == [
        ("note", "The run finished after 0 of 2 rounds: only the survey was asked for"),
        ("good", "The survey holds the images of all 3 hospitals."),
    ]
    page = render(result)
    assert "The training images, surveyed" in page
    assert "Site-stratified AUC" not in page
    assert "Privacy spent" not in page


def test_a_hospital_missing_from_it_is_named(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites(), {Moment(1, "survey", 0): lost})
    _, result = local.run(link, study, purpose="survey")
    assert result.status == "finished"
    (found,) = (one for one in findings(result) if one.level == "bad")
    assert found.text == "1 of 3 hospitals were missing from a step."
    assert found.items[0].startswith("birch, survey: ")


def test_a_survey_that_too_few_answer_is_no_survey(local: LocalFederation, study: Study) -> None:
    link = LocalLink(local.sites(), {Moment(node, "survey", 0): lost for node in (0, 1)})
    _, result = local.run(link, study, purpose="survey")
    assert (result.status, result.survey) == ("failed", None)
    assert "The run failed" in headline(result)


def test_the_same_run_goes_on_for_a_model_without_asking_again(local: LocalFederation, study: Study) -> None:
    first = surveyed(local, study)
    _, result = local.run(LocalLink(local.sites()), study, resume=True)
    assert (result.status, result.run, result.purpose) == ("finished", first.run, "model")
    assert result.rounds.count == 2
    assert result.survey == first.survey
    assert answered(local)["survey"] == 3, "once each"
    assert answered(local)["train"] == 6
