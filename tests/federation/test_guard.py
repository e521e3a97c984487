"""The vote that takes a harmful round back, by what hospitals see on their own patients: one that sends the worst that
its bounds let it, and honest rounds whose figures go up and down by chance."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from torch import nn

import client.local_round
import client.steps
import client.votes
from client.dicom.archive import Counts
from client.images import Images, Split
from client.kept import Keeper
from client.local_round import Trained
from client.personal import own_places
from client.standing import Standing
from client.workbench import Prepared, Workbench
from shared.messages.tasks import TrainTask
from shared.parameters import to_vector
from shared.reasons import Reason
from shared.study import Study, parse_study
from shared.wire import read_json
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from simulations.wards import SIDE, found, site_of

SPOTS = parse_study(f"""
name = "spots"
[task]
labels = ["clear", "spot"]
[input]
modalities = ["DX"]
size = [{SIDE}, {SIDE}]
[model]
name = "cnn"
[model.options]
width = 4
hidden = 0
blocks = 1
activation = "silu"
[training]
rounds = 5
batch = 8
local_steps = 8
learning_rate = 1.0
[federation]
min_sites = 3
max_images = 100
timeout_s = 60.0
guard = true
[privacy]
mode = "off"
[aggregation]
colluders = 0
""")
POLICY = '[privacy]\nleast = "off"\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n'
NAMES = ("alder", "birch", "cedar")
PARTS = {Split.VALIDATION: 40, Split.TEST: 10, Split.TRAIN: 30}


def spots(seed: int) -> Prepared:
    """A spot in the noise of two patients in five: bright to hardly visible."""
    rng, number = np.random.default_rng(seed), sum(PARTS.values())
    label = rng.permutation(np.arange(number) % 5 < 2).astype(np.int64)
    pixels = 0.6 * rng.random((number, 1, SIDE, SIDE))
    pixels[:, 0, 2:5, 3:6] += (0.6 * label * rng.random(number))[:, None, None]
    keys = tuple(bytes([seed, patient]) * 16 for patient in range(number))
    split = np.repeat(list(PARTS), list(PARTS.values()))
    made = Images(pixels.clip(0, 1).astype(np.float32), label, np.arange(number), keys, split)
    return Prepared(made, Counts(number, number, dict.fromkeys(Reason, 0)))


@pytest.fixture
def wards(tmp_path: Path) -> tuple[LocalFederation, LocalLink]:
    local = found(tmp_path / "wards", NAMES, POLICY)
    return local, LocalLink([site_of(local, name, spots(seed)) for seed, name in enumerate(NAMES)])


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """From the call on, one hospital turns the common model's head round in the rounds given: for all three of equal
    weight, so it asks for three times as much."""

    def poison(rounds: set[int]) -> None:
        def trained(study: Study, task: TrainTask, bench: Workbench, module: nn.Module, **rest: Any) -> Trained:
            head = own_places(replace(study, federation=replace(study.federation, personal=("head",))), module)
            before = to_vector(module)
            made = honest(study, task, bench, module, **rest)
            seeds.add(rest["seed"])
            if rest["round_"] not in rounds or rest["seed"] != min(seeds):
                return made
            return Trained(np.where(head, -6 * before, 0).astype(np.float32), made.scaled, made.steps, made.kept)

        honest, seeds = client.local_round.trained, set[int]()
        monkeypatch.setattr(client.steps, "trained", trained)

    return poison


def seen(local: LocalFederation) -> list[list[float]]:
    """By hospital, what each round's model was worth to its validation patients."""
    rows = []
    for name in local.names:
        (path,) = local.home(name).path.glob("kept/*/standings.json")
        standings = read_json(path.read_bytes(), client.votes._Known).standings.values()
        rows.append([of.figure.value or 0.0 for of in standings])
    return rows


def test_a_harmful_round_is_voted_back_and_honest_ones_stay(
    wards: tuple[LocalFederation, LocalLink], poisoned: Callable[[set[int]], None]
) -> None:
    """Round 4 is harmful. In one before it the figures of most hospitals fall a little, too."""
    local, link = wards
    poisoned({4})
    outcome, result = local.run(link, SPOTS)
    rows = result.rounds.each
    assert [row.votes for row in rows] == [0, 3, 3, 3, 3]
    assert [row.harmful for row in rows] == [0, 0, 0, 3, 0]
    assert [row.taken_back for row in rows] == [False, False, False, True, False]
    assert result.status == "finished" and outcome.checkpoint.memory.best_round != 4
    figures = np.array(seen(local))
    fell = np.diff(figures[:, :3]) < 0
    assert fell.sum(axis=0).max() >= 2, "no honest round would have put the vote to the test"
    assert figures[:, 4].mean() > figures[:, 3].mean() + 0.2, "what comes after goes on from before"


def test_a_run_of_harmful_rounds_ends_and_keeps_its_best_model(
    local: LocalFederation, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the figures are: here every hospital finds every round after the first harmful."""

    def harmful(now: Standing, *, before: Standing) -> client.votes.Vote:
        assert now.whose == before.whose
        return client.votes.Vote(1, 1)

    monkeypatch.setattr(client.votes, "vote", harmful)
    federation = replace(study.federation, guard=True, strategy="scaffold")
    asked = replace(study, federation=federation, training=replace(study.training, rounds=6))
    outcome, result = local.run(LocalLink(local.sites()), asked)
    assert [row.taken_back for row in result.rounds.each] == [False, True, True, True]
    assert result.status == "stopped" and "guard: expected rounds that most hospitals" in result.because
    assert outcome.checkpoint.memory.best_round == 1 and result.judged is not None
    sites = [Keeper(local.home(name).path / "kept", most_bytes=1 << 30) for name in local.names]
    assert all(keeper.of_round(result.run, 1) for keeper in sites), "what the last counted round made is still there"
    first = outcome.checkpoint.state
    assert np.array_equal(first.result, outcome.checkpoint.best), "the state is that of round 1 again"


def test_hospitals_of_few_patients_abstain_and_take_nothing_back(
    local: LocalFederation, study: Study, poisoned: Callable[[set[int]], None]
) -> None:
    poisoned({2})
    asked = replace(study, federation=replace(study.federation, guard=True))
    _, result = local.run(LocalLink(local.sites()), asked)
    assert result.status == "finished"
    assert [(row.votes, row.taken_back) for row in result.rounds.each] == [(0, False)] * 2


def test_a_study_without_guard_asks_for_no_votes(local: LocalFederation, study: Study) -> None:
    _, result = local.run(LocalLink(local.sites()), study)
    assert [(row.votes, row.taken_back) for row in result.rounds.each] == [(0, False)] * 2
    assert not list((local.home("alder").path).glob("kept/*/standings.json"))
