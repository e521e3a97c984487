"""Algorithms under masks, through real hospitals in active mode: three rounds end where an algorithm's equations,
written down here again without masks, end; but for the quantiser's rounding. And the robust mean, in the open."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import client.local_round
import client.steps
from client.kept import Keeper
from client.local_round import Trained
from client.personal import PERSONAL, own_places
from shared.layout import begin
from shared.messages.requests import Step, read_request
from shared.messages.tasks import Task, TrainTask
from shared.network import network_of
from shared.study import Study
from shared.wire import unpack
from tests.federation.plain import (
    BATCH,
    FIVE,
    PATIENTS,
    RATE,
    ROUNDS,
    STEPS,
    STUDY,
    THREE,
    Federated,
    Plain,
    Vector,
    asking,
    federated,
    seed_of,
)


def fedavg(plain: Plain, round_: int) -> None:
    plain.memory["v"] = 0.5 * plain.recall("v") + plain.plain(round_)
    plain.weights = plain.weights + 0.8 * plain.memory["v"]


def fedprox(plain: Plain, round_: int) -> None:
    plain.weights = plain.weights + plain.plain(round_, mu=5.0)


def fedyogi(plain: Plain, round_: int) -> None:
    mean = plain.plain(round_)
    plain.memory["m"] = 0.9 * plain.recall("m") + 0.1 * mean
    v = plain.recall("v")
    plain.memory["v"] = v - 0.5 * mean**2 * np.sign(v - mean**2)
    plain.weights = plain.weights + 0.01 * plain.memory["m"] / (np.sqrt(plain.memory["v"]) + 0.01)


def fedadam(plain: Plain, round_: int) -> None:
    mean = plain.plain(round_)
    plain.memory["m"] = 0.9 * plain.recall("m") + 0.1 * mean
    plain.memory["v"] = 0.5 * plain.recall("v") + 0.5 * mean**2
    rate = 0.01 * (1 - 0.5 ** (round_ + 1)) ** 0.5 / (1 - 0.9 ** (round_ + 1))
    plain.weights = plain.weights + rate * plain.memory["m"] / (np.sqrt(plain.memory["v"]) + 0.01)


def fedadagrad(plain: Plain, round_: int) -> None:
    mean = plain.plain(round_)
    plain.memory["m"] = 0.5 * plain.recall("m") + 0.5 * mean
    plain.memory["v"] = plain.recall("v") + mean**2
    plain.weights = plain.weights + 0.01 * plain.memory["m"] / (np.sqrt(plain.memory["v"]) + 0.01)


def fednova(plain: Plain, round_: int) -> None:
    """Two passes over 5, 10 and 7 patients are 4, 6 and 4 steps of at most 4."""
    steps = {name: 2 * -(-PATIENTS[name] // BATCH) for name in plain.images}
    assert steps == {"alder": 4, "birch": 6, "cedar": 4}
    per_step = {name: plain.local(name, round_) / steps[name] for name in plain.images}
    every = sum(plain.shares[name] * steps[name] for name in plain.images)
    plain.weights = plain.weights + 0.9 * every * plain.mean(per_step)


def scaffold(plain: Plain, round_: int) -> None:
    c, updates, changes = plain.recall("c"), dict[str, Vector](), dict[str, Vector]()
    for name in plain.images:
        own = plain.recall(name)
        updates[name] = plain.local(name, round_, linear=c - own)
        changes[name] = -c - updates[name] / (STEPS * RATE)
        plain.memory[name] = own + changes[name]
    plain.weights = plain.weights + plain.mean(updates)
    plain.memory["c"] = c + plain.mean(changes)


def feddyn(plain: Plain, round_: int) -> None:
    updates = {name: plain.local(name, round_, mu=2.0, linear=-plain.recall(name)) for name in plain.images}
    for name, update in updates.items():
        plain.memory[name] = plain.recall(name) - 2.0 * update
    plain.memory["h"] = plain.recall("h") - 2.0 * plain.mean(updates)
    plain.weights = plain.weights + plain.mean(updates) - plain.memory["h"] / 2.0


def fedexp(plain: Plain, round_: int) -> None:
    mean = plain.plain(round_)
    rate = max(1.0, plain.square / (2 * (float(mean @ mean) + 1e-9)))
    plain.weights = plain.weights + rate * mean


Rule = Callable[[Plain, int], None]
CASES: dict[str, tuple[Rule, dict[str, float]]] = {
    "fedavg": (fedavg, {"server_rate": 0.8, "server_momentum": 0.5}),
    "fedprox": (fedprox, {"mu": 5.0}),
    "fedadam": (fedadam, {"server_rate": 0.01, "tau": 0.01, "beta2": 0.5}),
    "fedyogi": (fedyogi, {"server_rate": 0.01, "tau": 0.01, "beta2": 0.5}),
    "fedadagrad": (fedadagrad, {"server_rate": 0.01, "tau": 0.01, "beta1": 0.5}),
    "scaffold": (scaffold, {}),
    "feddyn": (feddyn, {"alpha": 2.0}),
    "fedexp": (fedexp, {"epsilon": 1e-9, "most": 100.0}),
    "fednova": (fednova, {"server_rate": 0.9}),
}


@pytest.mark.parametrize("name", CASES)
def test_three_masked_rounds_end_where_the_equations_do(tmp_path: Path, name: str) -> None:
    step, options = CASES[name]
    asked = asking(name, **options)
    if name == "fednova":
        asked = replace(asked, training=replace(asked.training, local_steps=None, local_epochs=2))
    assert asked.aggregation.adversary == "active"
    run = federated(tmp_path, asked)
    plain = Plain.of(asked)
    for round_ in range(1, ROUNDS + 1):
        step(plain, round_)
    moved = np.abs(plain.weights - begin(asked)[1]).max()
    assert moved > 1e-3
    # rounding to whole numbers is random, and FedExP divides by what it rounded
    np.testing.assert_allclose(run.weights, plain.weights, rtol=0, atol=max(5e-5, 0.01 * moved))
    assert all(row.drift is not None and row.drift > 0 for row in run.result.rounds.each)


def own_norms(run: Federated) -> dict[str, Vector]:
    """What each hospital kept for itself, off its disk."""
    found = {}
    for name in run.local.names:
        keeper = Keeper(run.local.home(name).path / "kept", most_bytes=1 << 30)
        found[name] = keeper.newest(run.result.run)[PERSONAL].astype(np.float64)
    return found


def with_own_norms() -> Study:
    return replace(STUDY, federation=replace(STUDY.federation, personal=("norm",)))


def test_fedbn_shares_all_but_each_hospitals_own_norms(tmp_path: Path) -> None:
    """FedBN (Li et al. 2021, algorithm 1). Of the norms the coordinator learns the mean, which the model it publishes
    has, and nobody but the hospital what they are there."""
    asked = with_own_norms()
    run, plain = federated(tmp_path, asked), Plain.of(asked)
    places = own_places(asked, network_of(asked))
    assert 0 < places.sum() < places.size
    for round_ in range(1, ROUNDS + 1):
        updates = {}
        for name in plain.images:
            start = np.where(places, plain.memory.get(name, plain.weights), plain.weights)
            updates[name] = plain.local(name, round_, begin=start)
        plain.memory = {name: plain.weights + update for name, update in updates.items()}
        plain.weights = plain.weights + plain.mean(updates)
    np.testing.assert_allclose(run.weights, plain.weights, rtol=0, atol=5e-5)
    own = own_norms(run)
    for name in THREE:
        np.testing.assert_allclose(own[name], plain.memory[name][places], rtol=0, atol=5e-5)
    assert min(np.abs(own[a] - own[b]).max() for a, b in [THREE[:2], THREE[1:], THREE[::2]]) > 1e-3
    mean = sum(plain.shares[name] * own[name] for name in THREE)
    np.testing.assert_allclose(run.weights[places], mean, rtol=0, atol=5e-5)
    assert run.result.personal is not None and run.result.judged is not None


def test_no_hospitals_own_norms_can_be_read_off_what_crosses(tmp_path: Path) -> None:
    """By an eavesdropper who has all requests and replies of a run of FedBN, or by the coordinator in what it hands
    out: never two numbers of a hospital's own beside each other, and every hospital is handed the same."""
    asked = with_own_norms()
    run = federated(tmp_path, asked)
    places = own_places(asked, network_of(asked))
    crossed = [data for _, request, reply in run.link.traffic for data in (request, reply) if data is not None]
    handed: dict[int, set[bytes]] = {}
    for request in crossed[::2]:
        body = read_request(request)
        if isinstance(body, Step) and body.plan.step == "train":
            task = unpack(Task, body.payload).body
            assert isinstance(task, TrainTask)
            handed.setdefault(body.plan.round, set()).add(bytes(task.weights))
    assert [len(versions) for versions in handed.values()] == [1] * ROUNDS
    for norms in own_norms(run).values():
        own = norms.astype("<f4").tobytes()
        pairs = [own[at : at + 8] for at in range(0, len(own) - 4, 4)]
        assert not any(pair in data for pair in pairs for data in crossed)
    (last,) = handed[ROUNDS]
    common = np.frombuffer(last, "<f4")[places]
    assert last[:64] in b"".join(crossed), "what crosses in the clear would be found"
    assert np.abs(common - begin(asked)[1][places]).max() > 1e-4


@pytest.mark.parametrize("keep", [0, 3])
def test_multi_krum_is_the_mean_of_those_it_chooses_and_leaves_a_poisoned_hospital_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    """Blanchard et al. 2017, section 4: of 5 hospitals with f = 1 those 4, or `keep`, whose 2 nearest others are
    nearest (n − f − 2). One sends the longest update it may."""
    asked = asking("multi-krum", hostile=1, keep=keep)
    asked = replace(
        asked,
        federation=replace(asked.federation, min_sites=5),
        aggregation=replace(asked.aggregation, adversary="none"),
    )
    size, hostile = begin(asked)[1].size, "cedar"
    poison = np.full(size, 9.99 / np.sqrt(size), np.float32)

    def trained(*args: object, seed: int, **rest: object) -> Trained:
        made = honest(*args, seed=seed, **rest)  # type: ignore[arg-type]
        return Trained(poison, made.scaled, made.steps, made.kept) if seed == seed_of(hostile, asked) else made

    honest = client.local_round.trained
    monkeypatch.setattr(client.steps, "trained", trained)
    run, plain = federated(tmp_path, asked, FIVE), Plain.of(asked, FIVE)
    for round_ in range(1, ROUNDS + 1):
        updates = {name: plain.local(name, round_) for name in FIVE} | {hostile: poison.astype(np.float64)}
        chosen = nearest(updates, closest=2, keep=keep or 4)
        assert hostile not in chosen
        plain.weights = plain.weights + np.mean([updates[name] for name in chosen], axis=0)
    assert np.abs(plain.weights - begin(asked)[1]).max() > 1e-3
    np.testing.assert_allclose(run.weights, plain.weights, rtol=0, atol=5e-5)


def nearest(updates: dict[str, Vector], *, closest: int, keep: int) -> list[str]:
    """The `keep` names with the least sum of squared distances to their `closest` others."""

    def score(name: str) -> float:
        apart = [float(((updates[name] - other) ** 2).sum()) for key, other in updates.items() if key != name]
        return sum(sorted(apart)[:closest])

    return sorted(updates, key=score)[:keep]
