"""Algorithms under masks, through real hospitals in active mode: three rounds end where an algorithm's equations,
written down here again without masks, end; but for the quantiser's rounding."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from client.images import Images, Split
from client.training.algorithms.pull import Pull
from client.training.loop import train
from client.workbench import prepare_for
from shared.layout import begin
from shared.network import network_of
from shared.parameters import load_vector, to_vector
from shared.study import Study
from shared.wire import digest
from simulations.faults import LocalLink
from simulations.local import LocalFederation

Vector = NDArray[np.float64]
ROUNDS, STEPS, RATE = 3, 2, 0.05


@dataclass
class Plain:
    """Hospitals without masks: `memory` of each and of the coordinator, by name."""

    study: Study
    images: dict[str, Images]
    weights: Vector
    memory: dict[str, Vector] = field(default_factory=dict)
    square: float = 0.0

    @property
    def shares(self) -> dict[str, float]:
        sizes = {name: len(images.rows(Split.TRAIN)) for name, images in self.images.items()}
        return {name: size / sum(sizes.values()) for name, size in sizes.items()}

    def recall(self, name: str) -> Vector:
        return self.memory.get(name, np.zeros_like(self.weights))

    def local(self, name: str, round_: int, *, mu: float = 0.0, linear: Vector | None = None) -> Vector:
        """Δ of one hospital whose loss has μ ÷ 2 |w − x|² + ⟨linear, w⟩ added."""
        module, start = network_of(self.study), self.weights.astype(np.float32)
        load_vector(module, start)
        pull = Pull(mu, start, None if linear is None else linear.astype(np.float32))
        seed = int.from_bytes(digest("konsil/augment/v1", name.encode())[:4], "big") + self.study.training.seed
        train(module, self.images[name], self.study, round=round_, seed=seed, pull=pull)
        return to_vector(module).astype(np.float64) - start

    def mean(self, updates: dict[str, Vector]) -> Vector:
        return sum((self.shares[name] * update for name, update in updates.items()), np.zeros_like(self.weights))

    def plain(self, round_: int, mu: float = 0.0) -> Vector:
        updates = {name: self.local(name, round_, mu=mu) for name in self.images}
        self.square = sum(self.shares[name] * float(update @ update) for name, update in updates.items())
        return self.mean(updates)


def fedavg(plain: Plain, round_: int) -> None:
    plain.memory["v"] = 0.5 * plain.recall("v") + plain.plain(round_)
    plain.weights = plain.weights + 0.8 * plain.memory["v"]


def fedprox(plain: Plain, round_: int) -> None:
    plain.weights = plain.weights + plain.plain(round_, mu=5.0)


def fedyogi(plain: Plain, round_: int) -> None:
    mean = plain.plain(round_)
    plain.memory["m"] = 0.9 * plain.recall("m") + 0.1 * mean
    v = plain.recall("v")
    plain.memory["v"] = v - 0.01 * mean**2 * np.sign(v - mean**2)
    plain.weights = plain.weights + 0.01 * plain.memory["m"] / (np.sqrt(plain.memory["v"]) + 0.01)


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


CASES: dict[str, tuple[Callable[[Plain, int], None], dict[str, float]]] = {
    "fedavg": (fedavg, {"server_rate": 0.8, "server_momentum": 0.5}),
    "fedprox": (fedprox, {"mu": 5.0}),
    "fedyogi": (fedyogi, {"server_rate": 0.01, "tau": 0.01}),
    "scaffold": (scaffold, {}),
    "feddyn": (feddyn, {"alpha": 2.0}),
    "fedexp": (fedexp, {"epsilon": 1e-9, "most": 100.0}),
}


def asking(study: Study, name: str, options: dict[str, float], **federation: object) -> Study:
    changed = replace(study.federation, strategy=name, options=dict(options), **federation)
    return replace(study, federation=changed, training=replace(study.training, rounds=ROUNDS))


@pytest.mark.parametrize("name", CASES)
def test_three_masked_rounds_end_where_the_equations_do(local: LocalFederation, study: Study, name: str) -> None:
    step, options = CASES[name]
    asked = asking(study, name, options)
    outcome, result = local.run(LocalLink(local.sites()), asked)
    assert (result.status, outcome.checkpoint.memory.round) == ("finished", ROUNDS)
    assert asked.aggregation.adversary == "active" and result.sites.left_out == ()
    images = {site: prepare_for(local.home(site), asked).images for site in local.names}
    plain = Plain(asked, images, begin(asked)[1].astype(np.float64))
    for round_ in range(1, ROUNDS + 1):
        step(plain, round_)
    moved = np.abs(plain.weights - begin(asked)[1]).max()
    assert moved > 1e-3
    # rounding to whole numbers is random, and FedExP divides by what it rounded
    np.testing.assert_allclose(outcome.checkpoint.state.weights, plain.weights, rtol=0, atol=max(5e-5, 0.01 * moved))
    assert all(row.drift is not None and row.drift > 0 for row in result.rounds.each)
