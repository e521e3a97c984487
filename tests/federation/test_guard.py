"""A hospital that sends a harmful update within its bounds, and the others' vote that takes it back."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

import client.local_round
import client.steps
import client.votes
from client.kept import Keeper
from client.local_round import Trained
from shared.evaluated import model_digest
from shared.judged import Figure
from shared.layout import begin
from shared.study import Study
from simulations.faults import LocalLink
from simulations.local import LocalFederation


def guarded(study: Study, *, strategy: str = "fedavg", rounds: int = 4) -> Study:
    federation = replace(study.federation, guard=True, strategy=strategy)
    return replace(study, federation=federation, training=replace(study.training, rounds=rounds))


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int]], None]:
    """From the call on, one hospital turns its update round and makes it as long as it may, in the rounds given."""

    def poison(rounds: set[int]) -> None:
        def trained(*args: object, round_: int, seed: int, **rest: object) -> Trained:
            found = honest(*args, round_=round_, seed=seed, **rest)  # type: ignore[arg-type]
            seeds.add(seed)
            if round_ not in rounds or seed != min(seeds):
                return found
            up = -found.up * np.float32(9.99 / np.linalg.norm(found.up))
            return Trained(up, found.scaled, found.steps, found.kept)

        honest, seeds = client.local_round.trained, set[int]()
        monkeypatch.setattr(client.steps, "trained", trained)

    return poison


@pytest.fixture
def by_length(monkeypatch: pytest.MonkeyPatch, study: Study) -> None:
    """Hospitals judge a model by how far it is from its start: a figure that a few patients have no say in."""
    lengths: dict[bytes, float] = {}
    start = begin(study)[1]

    def digest(weights: memoryview) -> bytes:
        found = model_digest(weights)
        lengths[found] = max(1.0, float(np.linalg.norm(np.frombuffer(weights, "<f4") - start)))
        return found

    def on(self: client.votes.Votes, model: bytes, figure: Figure, before: bytes) -> client.votes.Vote:
        return judged_by(self, model, replace(figure, value=lengths[model], better="lower"), before)

    judged_by = client.votes.Votes.on
    monkeypatch.setattr(client.steps, "model_digest", digest)
    monkeypatch.setattr(client.votes.Votes, "on", on)


@pytest.mark.usefixtures("by_length")
def test_a_harmful_round_is_voted_back_and_the_run_goes_on(
    local: LocalFederation, study: Study, poisoned: Callable[[set[int]], None]
) -> None:
    poisoned({3})
    outcome, result = local.run(LocalLink(local.sites()), guarded(study))
    rows = result.rounds.each
    assert [row.votes for row in rows] == [0, 3, 3, 3]
    assert [row.harmful for row in rows] == [0, 0, 3, 0]
    assert [row.taken_back for row in rows] == [False, False, True, False]
    assert result.status == "finished" and outcome.checkpoint.memory.best_round != 3
    assert float(np.linalg.norm(outcome.checkpoint.state.weights - begin(study)[1])) < 1


@pytest.mark.usefixtures("by_length")
def test_a_run_of_harmful_rounds_ends_and_keeps_its_best_model(
    local: LocalFederation, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the figures are: here every hospital finds every round after the first harmful."""
    monkeypatch.setattr(client.votes, "is_worse", lambda _now, before: True)
    asked = guarded(study, strategy="scaffold", rounds=6)
    outcome, result = local.run(LocalLink(local.sites()), asked)
    assert [row.taken_back for row in result.rounds.each] == [False, True, True, True]
    assert result.status == "stopped" and "guard: expected rounds that most hospitals" in result.because
    assert outcome.checkpoint.memory.best_round == 1 and result.judged is not None
    sites = [Keeper(local.home(name).path / "kept", most_bytes=1 << 30) for name in local.names]
    assert all(keeper.of_round(result.run, 1) for keeper in sites), "what the last counted round made is still there"
    first = outcome.checkpoint.state
    assert np.array_equal(first.result, outcome.checkpoint.best), "the state is that of round 1 again"


def test_a_study_without_guard_asks_for_no_votes(local: LocalFederation, study: Study) -> None:
    _, result = local.run(LocalLink(local.sites()), study)
    assert [(row.votes, row.taken_back) for row in result.rounds.each] == [(0, False)] * 2
    assert not list((local.home("alder").path).glob("kept/*/figures.json"))
