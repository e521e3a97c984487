"""Where algorithms end: hospitals whose losses are quadratic with minima of their own, many local steps a round.

FedAvg ends beside the minimum of all patients' loss, at a place that depends on the local steps; SCAFFOLD and FedDyn
end in it, also when hospitals are missing from rounds. The halves are those that run: a hospital's pull and finish, the
coordinator's rule.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from client.training.algorithms.base import Begin, bounded
from client.training.algorithms.choose import local_of
from client.training.algorithms.pull import Pull
from server.strategies.choose import strategy_of
from server.strategies.masked import Crowd, Masked, Moving
from shared.algorithms.registry import algorithm_of
from shared.layout import Layout
from shared.study import MINIMAL, Study, parse_study
from shared.update import Update

#: curvature, minimum and images of three hospitals
CURVES = np.array([[1.0, 4.0], [3.0, 0.5], [0.5, 2.0]])
MINIMA = np.array([[2.0, -1.0], [-3.0, 4.0], [0.0, 1.0]])
IMAGES = (10, 30, 20)
SHARES = np.array(IMAGES) / sum(IMAGES)
#: of Σ p_i f_i
BEST = (SHARES[:, None] * CURVES * MINIMA).sum(axis=0) / (SHARES[:, None] * CURVES).sum(axis=0)
RATE, STEPS = 0.1, 10


def study_of(strategy: str, **options: float) -> Study:
    study = parse_study(MINIMAL)
    federation = replace(study.federation, strategy=strategy, options=dict(options))
    training = replace(study.training, learning_rate=RATE, local_steps=STEPS, rounds=400)
    aggregation = replace(study.aggregation, update_norm=1000.0)
    return replace(study, federation=federation, training=training, aggregation=aggregation)


def descend(site: int, start: NDArray[np.float32], pull: Pull | None) -> NDArray[np.float32]:
    """STEPS of gradient descent on one hospital's loss and the pull."""
    weights = start.copy()
    for _ in range(STEPS):
        gradient = (CURVES[site] * (weights - MINIMA[site])).astype(np.float32)
        weights -= np.float32(RATE) * (gradient + (pull or Pull()).at(weights))
    return weights


def train(study: Study, rounds: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """The weights after `rounds`, in each of which the hospitals named take part."""
    strategy = strategy_of(study, Layout(("w",), ((2,),)))
    assert isinstance(strategy, Masked)
    local, algorithm = local_of(study), algorithm_of(study)
    moving = Moving(np.zeros(2, np.float32), tuple(np.zeros(2, np.float32) for _ in range(strategy.slots)))
    kept: dict[int, dict[str, NDArray[np.float32]]] = {}
    for number, here in enumerate(rounds, start=1):
        beside = np.concatenate([*moving.slots[: algorithm.beside], np.zeros(0, np.float32)])
        ups = []
        for site in here:
            begin = Begin(study, number, moving.weights, beside, kept.get(site, {}))
            update, _ = bounded(descend(site, moving.weights, local.pull(begin)) - moving.weights, 1000.0)
            made = local.finish(begin, update, STEPS)
            kept[site] = made.kept
            ups.append(np.concatenate(made.up))
        weights = [IMAGES[site] for site in here]
        mean = np.average(ups, axis=0, weights=weights).astype(np.float32)
        square = float(np.average([up[:2] @ up[:2] for up in ups], weights=weights))
        crowd = Crowd(number, sum(weights) / sum(IMAGES), 1.0)
        moving = strategy.rule(moving, Update(len(here), 0, 0, sum(weights), mean, square, STEPS), crowd)
    return moving.weights


ALL = [(0, 1, 2)] * 400


def test_fedavg_with_many_local_steps_ends_beside_the_joint_minimum() -> None:
    assert np.abs(train(study_of("fedavg"), ALL) - BEST).max() > 0.1


@pytest.mark.parametrize(("strategy", "options"), [("scaffold", {}), ("feddyn", {"alpha": 1.0})])
def test_scaffold_and_feddyn_end_in_it(strategy: str, options: dict[str, float]) -> None:
    np.testing.assert_allclose(train(study_of(strategy, **options), ALL), BEST, atol=2e-4)


@pytest.mark.parametrize(("strategy", "options"), [("scaffold", {"server_rate": 0.5}), ("feddyn", {"alpha": 3.0})])
def test_also_when_hospitals_are_missing_from_rounds(strategy: str, options: dict[str, float]) -> None:
    random = np.random.default_rng(0)
    rounds: list[tuple[int, ...]] = [(0, 1, 2)]
    rounds += [tuple(sorted(random.choice(3, 2, replace=False).tolist())) for _ in range(1500)]
    np.testing.assert_allclose(train(study_of(strategy, **options), rounds), BEST, atol=5e-3)


@pytest.mark.parametrize("strategy", ["fedprox", "fednova", "fedexp"])
def test_the_others_come_closer_to_it_than_where_they_began(strategy: str) -> None:
    assert np.linalg.norm(train(study_of(strategy), ALL[:50]) - BEST) < np.linalg.norm(BEST)


def test_fednova_counts_no_hospital_by_its_steps() -> None:
    """With one step a hospital FedAvg is gradient descent and ends in the joint minimum; FedNova of many steps ends
    where FedAvg of as many does, for they are equal everywhere."""
    np.testing.assert_allclose(train(study_of("fednova"), ALL), train(study_of("fedavg"), ALL), atol=1e-5)
