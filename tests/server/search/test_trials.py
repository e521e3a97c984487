import json
import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from server.report.trials import best_of
from server.search.budget import spent_by
from server.search.space import Choices, Range, Space
from server.search.trials import Found, Trial, search
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


def test_a_search_goes_on_where_it_was_and_counts_a_run_that_was_cut_short(tmp_path: Path) -> None:
    class KilledError(Exception):
        """Stands for a process that ends."""

    def killed(_: Study, number: int) -> float:
        if number == 2:
            raise KilledError
        return 0.5

    with pytest.raises(KilledError):
        search(STUDY, SPACE, trials=5, storage=tmp_path / "trials.jsonl", better="higher", run=killed, told=print)
    found, seen = searched(tmp_path, 5)
    assert [trial.number for trial in seen] == [3, 4]
    assert [trial.value is None for trial in found.trials] == [False, False, True, False, False]


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


def test_a_run_that_was_cut_short_is_paid_for(tmp_path: Path) -> None:
    class KilledError(Exception):
        """Stands for a process that ends."""

    ran: list[Study] = []

    def run(study: Study, number: int) -> float:
        ran.append(study)
        if number == 0:
            raise KilledError
        return quality(study, number)

    storage = tmp_path / "t.jsonl"
    with pytest.raises(KilledError):
        search(PRIVATE, SPACE, trials=3, storage=storage, better="higher", run=run, told=print)
    found = search(PRIVATE, SPACE, trials=3, storage=storage, better="higher", run=run, told=print)
    assert len(ran) == 3
    assert 3.8 < spent_by([*ran, found.best]) <= 4 * (1 + 1e-6)


def test_trials_of_another_study_are_not_gone_on_with(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    with pytest.raises(InputError, match="trials of this study"):
        searched(tmp_path, 2, replace(STUDY, name="another"))
