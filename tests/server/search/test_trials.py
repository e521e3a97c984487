import json
import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from server.report.trials import best_of
from server.search.budget import spent_by, told_by
from server.search.space import Choices, Range, Space
from server.search.trials import Found, Run, Trial, search
from shared.errors import InputError, OperatorError
from shared.judged import Better
from shared.study import MINIMAL, Study, parse_study
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation

STUDY = parse_study(MINIMAL)
PRIVATE = parse_study(
    MINIMAL.replace('mode = "off"', 'mode = "local"\nepsilon = 4\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.2')
)
SPACE: Space = {"training.learning_rate": Range(0.001, 1.0, log=True), "training.optimizer": Choices(("sgd", "adam"))}


def quality(study: Study, _: int) -> float:
    """Best at a rate of 0.03 with Adam."""
    return -abs(math.log10(study.training.learning_rate / 0.03)) - (study.training.optimizer == "sgd")


def searched(folder: Path, trials: int, study: Study = STUDY, better: Better = "higher") -> tuple[Found, list[Trial]]:
    seen: list[Trial] = []
    sign = 1 if better == "higher" else -1
    found = search(
        study,
        SPACE,
        trials=trials,
        storage=folder / "trials.jsonl",
        better=better,
        run=lambda wanted, number: sign * quality(wanted, number),
        told=seen.append,
    )
    return found, seen


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_search_comes_near_the_best_settings(tmp_path: Path, better: Better) -> None:
    found, seen = searched(tmp_path, 25, better=better)
    assert found.best.training.optimizer == "adam"
    assert 0.01 < found.best.training.learning_rate < 0.1
    assert [trial.number for trial in seen] == list(range(25))
    assert list(found.trials) == seen


class KilledError(Exception):
    """Stands for a process that ends."""


def killed_at(trial: int, ran: list[Study]) -> Run:
    """Ends with that trial when it comes there first; `ran` gets what each run was of."""

    def run(study: Study, number: int) -> float:
        ran.append(study)
        if number == trial and ran.count(study) == 1:
            raise KilledError
        return quality(study, number)

    return run


def test_a_search_that_was_killed_goes_on_with_the_run_it_was_at(tmp_path: Path) -> None:
    ran: list[Study] = []
    seen: list[Trial] = []
    run, storage = killed_at(2, ran), tmp_path / "trials.jsonl"
    with pytest.raises(KilledError):
        search(PRIVATE, SPACE, trials=5, storage=storage, better="higher", run=run, told=seen.append)
    found = search(PRIVATE, SPACE, trials=5, storage=storage, better="higher", run=run, told=seen.append)
    assert [study.name for study in ran] == [f"minimal-trial-{number}" for number in (0, 1, 2, 2, 3, 4)]
    assert ran[2] == ran[3]
    assert found.trials == tuple(seen)
    assert [trial.number for trial in seen] == [0, 1, 2, 3, 4] and None not in [trial.value for trial in seen]
    assert found.best.name == "minimal"


def test_a_run_that_was_cut_short_is_paid_for_once(tmp_path: Path) -> None:
    ran: list[Study] = []
    run, storage = killed_at(0, ran), tmp_path / "t.jsonl"
    with pytest.raises(KilledError):
        search(PRIVATE, SPACE, trials=3, storage=storage, better="higher", run=run, told=print)
    found = search(PRIVATE, SPACE, trials=3, storage=storage, better="higher", run=run, told=print)
    assert len(ran) == 4 and not found.because
    assert 3.8 < spent_by([*ran[1:], found.best]) <= 4 * (1 + 1e-6)


def test_a_search_that_goes_on_tries_other_settings(tmp_path: Path) -> None:
    _, first = searched(tmp_path, 3)
    _, then = searched(tmp_path, 6)
    rates = [trial.settings["training.learning_rate"] for trial in (*first, *then)]
    assert len(set(rates)) == 6


def test_fewer_trials_than_there_are_leave_the_best_no_more_than_its_share(tmp_path: Path) -> None:
    many, _ = searched(tmp_path, 4, PRIVATE)
    few, seen = searched(tmp_path, 1, PRIVATE)
    assert (few, seen) == (many, [])


def test_a_run_that_cannot_be_ends_the_search_while_none_has_a_figure(tmp_path: Path) -> None:
    def refused(study: Study, number: int) -> float:
        if number in (0, 2):
            raise InputError(f"trial {number}")
        return quality(study, number)

    seen: list[Trial] = []
    common = {"trials": 4, "storage": tmp_path / "trials.jsonl", "better": "higher", "told": seen.append}
    with pytest.raises(InputError, match="trial 0"):
        search(STUDY, SPACE, run=refused, **common)  # type: ignore[arg-type]
    search(STUDY, SPACE, run=refused, **common)  # type: ignore[arg-type]
    assert [trial.value is None for trial in seen] == [False, True, False] and "trial 2" in seen[1].because


def test_settings_that_do_not_go_together_are_passed_over(tmp_path: Path) -> None:
    """SCAFFOLD makes plain steps only: with momentum nobody is asked, and as many runs are made as were wanted."""
    space: Space = {"federation.strategy": Choices(("fedavg", "scaffold")), "training.momentum": Choices((0.0, 0.9))}
    ran: list[Study] = []
    seen: list[Trial] = []

    def run(study: Study, _: int) -> float:
        ran.append(study)
        return float(len(ran))

    found = search(STUDY, space, trials=10, storage=tmp_path / "t.jsonl", better="higher", run=run, told=seen.append)
    refused = [trial for trial in seen if trial.value is None]
    assert len(ran) == 10 and refused and len(found.trials) == 10 + len(refused)
    assert all(trial.settings["federation.strategy"] == "scaffold" for trial in refused)
    assert all("momentum" in trial.because for trial in refused)


def test_a_key_that_no_study_has_is_named_and_may_be_mended(tmp_path: Path) -> None:
    wrong: Space = {"training.learning_rat": Range(0.001, 1.0)}
    common = {"storage": tmp_path / "trials.jsonl", "better": "higher", "told": print, "run": quality}
    with pytest.raises(InputError, match="learning_rat"):
        search(STUDY, wrong, trials=2, **common)  # type: ignore[arg-type]
    assert search(STUDY, SPACE, trials=3, **common).best.training.learning_rate  # type: ignore[arg-type]


def test_choices_other_than_before_are_refused(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    other: Space = {**SPACE, "training.optimizer": Choices(("sgd",))}
    with pytest.raises(InputError, match=r"training\.optimizer of the space"):
        search(STUDY, other, trials=2, storage=tmp_path / "trials.jsonl", better="higher", run=quality, told=print)


def test_all_trials_and_the_run_after_them_stay_within_the_studys_epsilon(tmp_path: Path) -> None:
    ran: list[Study] = []

    def run(study: Study, number: int) -> float:
        ran.append(study)
        return quality(study, number)

    found = search(PRIVATE, SPACE, trials=6, storage=tmp_path / "t.jsonl", better="higher", run=run, told=print)
    assert len(ran) == 6 and not found.because
    assert all((study.privacy.epsilon or 0) < 2 for study in ran)
    assert 3.8 < spent_by([*ran, found.best]) <= 4 * (1 + 1e-6)


def test_settings_that_spend_more_than_their_share_end_the_search_before_the_budget(tmp_path: Path) -> None:
    """With more rounds a run of the same ε is the same share, but other kinds of noise do not always compose alike."""
    space: Space = {"training.rounds": Choices((2, 400))}
    ran: list[Study] = []

    def run(study: Study, _: int) -> float:
        ran.append(study)
        return float(study.training.rounds)

    study = replace(PRIVATE, privacy=replace(PRIVATE.privacy, sampling_rate=0.9))
    found = search(study, space, trials=12, storage=tmp_path / "t.jsonl", better="higher", run=run, told=print)
    assert spent_by([*ran, found.best]) <= 4 * (1 + 1e-6)
    assert len(ran) == 12 or "ε would be" in found.because


def test_a_search_without_a_figure_fails(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="a trial with a figure"):
        search(
            STUDY,
            SPACE,
            trials=2,
            storage=tmp_path / "t.jsonl",
            better="higher",
            run=lambda *_: None,
            told=print,
        )


def test_a_run_for_a_search_never_looks_at_the_test_patients(tmp_path: Path) -> None:
    text = MINIMAL.replace("size = [32, 32]", "size = [16, 16]").replace('["DX"]', '["DX", "CR"]')
    study = parse_study(text + "[aggregation]\ncolluders = 0\n")
    archives = {name: tmp_path / "archives" / name for name in ("alder", "birch")}
    for name, archive in archives.items():
        write_hospital(archive, patients=12, seed=5, profile=PROFILES[name])
    local = LocalFederation.make(tmp_path, archives, study)
    outcome, result = local.run(LocalLink(local.sites()), study, purpose="search")
    assert (outcome.status, outcome.test, result.judged) == ("finished", None, None)
    assert best_of(result) == max(row.validation for row in result.rounds.each if row.validation is not None)
    audit = (local.home("alder").path / "audit.jsonl").read_text()
    answered = [line for line in map(json.loads, audit.splitlines()) if line["event"] == "answered"]
    assert sum(line["purpose"] == "evaluate" for line in answered) == study.training.rounds


def test_a_search_that_goes_on_for_more_trials_counts_the_earlier_ones_as_they_were(tmp_path: Path) -> None:
    """The shares of a search for two are larger than those of a search for twelve."""
    ran: list[Study] = []

    def run(study: Study, number: int) -> float:
        ran.append(study)
        return quality(study, number)

    storage = tmp_path / "t.jsonl"
    search(PRIVATE, SPACE, trials=2, storage=storage, better="higher", run=run, told=print)
    found = search(PRIVATE, SPACE, trials=12, storage=storage, better="higher", run=run, told=print)
    assert len({study.privacy.epsilon for study in ran}) == 2
    assert 2 < len(ran) < 12 and "ε would be" in found.because
    assert spent_by([*ran, found.best]) <= 4 * (1 + 1e-6)


def test_trials_of_another_study_are_not_gone_on_with(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    with pytest.raises(InputError, match="trials of this study"):
        searched(tmp_path, 2, replace(STUDY, name="another"))


def test_noisy_evaluations_stay_within_their_own_epsilon(tmp_path: Path) -> None:
    ran: list[Study] = []

    def run(study: Study, number: int) -> float:
        ran.append(study)
        return quality(study, number)

    storage, study = tmp_path / "t.jsonl", replace(STUDY, evaluation=replace(STUDY.evaluation, epsilon=2.0, delta=1e-5))
    search(study, SPACE, trials=2, storage=storage, better="higher", run=run, told=print)
    found = search(study, SPACE, trials=12, storage=storage, better="higher", run=run, told=print)
    assert 2 < len(ran) < 12 and "the evaluations’ ε would be" in found.because
    assert 1.5 < told_by([*ran, found.best]) <= 2 * (1 + 1e-6)
