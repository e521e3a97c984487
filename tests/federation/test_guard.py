"""A hospital that sends a harmful update within its bounds, and the others' vote that takes it back."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

import client.doing
from client.local_round import Trained
from client.steps import Outcome, train_round
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

        honest, seeds = client.steps.trained, set[int]()
        monkeypatch.setattr(client.steps, "trained", trained)

    return poison


def test_a_harmful_round_is_voted_back_and_the_run_goes_on(
    local: LocalFederation, study: Study, poisoned: Callable[[set[int]], None]
) -> None:
    poisoned({3})
    outcome, result = local.run(LocalLink(local.sites()), guarded(study))
    rows = result.rounds.each
    assert [row.votes for row in rows] == [0, 3, 3, 3]
    assert rows[2].taken_back and rows[2].harmful >= 2
    assert not rows[1].taken_back
    assert result.status == "finished" and outcome.checkpoint.memory.best_round != 3
    assert float(np.linalg.norm(outcome.checkpoint.state.weights)) < 10
