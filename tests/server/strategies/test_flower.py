"""Flower's own strategies as judges: what they make of the hospitals' models, ours make of the masked mean."""

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
)
from numpy.typing import NDArray

from server.strategies import fedavg, fedopt, robust
from server.strategies.masked import Crowd, Moving, Rule
from shared.algorithms.options import Adaptive, Adding, Averaging
from shared.update import Update

START = np.array([1.0, -2.0, 0.5], np.float32)
#: what four hospitals' models are after each of three rounds, relative to where the round began; their images
UPDATES = np.random.default_rng(0).normal(0, 0.3, (3, 4, 3)).astype(np.float32)
IMAGES = (10, 30, 20, 40)


def replies(models: NDArray[np.float32]) -> list[Message]:
    """As Flower gets them."""
    found = []
    for number, (model, images) in enumerate(zip(models, IMAGES, strict=False)):
        content = RecordDict({"arrays": ArrayRecord([model]), "metrics": MetricRecord({"num-examples": images})})
        found.append(make_message(_metadata(number), content))
    return found


def _metadata(number: int) -> Metadata:
    return Metadata(
        run_id=1,
        message_id="",
        src_node_id=number + 1,
        dst_node_id=0,
        reply_to_message_id="",
        group_id="",
        created_at=0.0,
        ttl=1.0,
        message_type="train",
        src_task_id=None,
        dst_task_id=None,
    )


def flowers(strategy: FedAvg) -> NDArray[np.float32]:
    """The model after the rounds, by Flower."""
    model = START
    for round_, updates in enumerate(UPDATES, start=1):
        current = ArrayRecord([model])
        if isinstance(strategy, FedAvgM):
            strategy.current_arrays = current
        elif hasattr(strategy, "current_arrays"):
            strategy.current_arrays = {key: array.numpy() for key, array in current.items()}
        arrays, _ = strategy.aggregate_train(round_, replies(model + updates))
        assert arrays is not None
        model = arrays.to_numpy_ndarrays()[0].astype(np.float32)
    return model


def ours(rule: Rule, slots: int) -> NDArray[np.float32]:
    """The same by our rule, of the weighted mean alone."""
    state = Moving(START, tuple(np.zeros(3, np.float32) for _ in range(slots)))
    for updates in UPDATES:
        mean = np.average(updates, axis=0, weights=IMAGES).astype(np.float32)
        state = rule(state, Update(4, 0, 0, 100, mean), Crowd())
    return state.weights


RULES: dict[str, tuple[FedAvg, Rule, int]] = {
    "FedAvg": (FedAvg(), fedavg.rule_of(Averaging()), 0),
    "FedAvgM": (
        FedAvgM(server_learning_rate=0.7, server_momentum=0.5),
        fedavg.rule_of(Averaging(server_rate=0.7, server_momentum=0.5)),
        1,
    ),
    "FedAdam": (
        FedAdam(eta=0.2, beta_1=0.8, beta_2=0.95, tau=0.01),
        fedopt.rule_of("fedadam", Adaptive(server_rate=0.2, beta1=0.8, beta2=0.95, tau=0.01)),
        2,
    ),
    "FedYogi": (
        FedYogi(eta=0.2, beta_1=0.8, beta_2=0.95, tau=0.01),
        fedopt.rule_of("fedyogi", Adaptive(server_rate=0.2, beta1=0.8, beta2=0.95, tau=0.01)),
        2,
    ),
    "FedAdagrad": (FedAdagrad(eta=0.2, tau=0.01), fedopt.rule_of("fedadagrad", Adding(server_rate=0.2, tau=0.01)), 2),
}


@pytest.mark.parametrize("name", RULES)
def test_three_rounds_equal_flowers(name: str) -> None:
    strategy, rule, slots = RULES[name]
    np.testing.assert_allclose(ours(rule, slots), flowers(strategy), rtol=2e-6, atol=1e-6)


MEANS: dict[str, tuple[FedAvg, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "FedMedian": (FedMedian(), robust.median),
    "FedTrimmedAvg": (FedTrimmedAvg(beta=0.25), lambda updates: robust.trimmed(updates, share=0.25)),
    "Krum": (Krum(num_malicious_nodes=1), lambda updates: robust.krum(updates, hostile=1, keep=1)),
    "MultiKrum": (
        MultiKrum(num_malicious_nodes=1, num_nodes_to_select=2),
        lambda updates: robust.krum(updates, hostile=1, keep=2),
    ),
}


@pytest.mark.parametrize("name", MEANS)
def test_a_robust_mean_of_updates_moves_as_flowers_of_models(name: str) -> None:
    """Of hospitals of equal size: Flower weighs the models that Krum chose, ours does not."""
    strategy, mean = MEANS[name]
    same = [MetricRecord({"num-examples": 1}) for _ in IMAGES]
    messages = replies(START + UPDATES[0])
    for message, metric in zip(messages, same, strict=True):
        message.content["metrics"] = metric
    arrays, _ = strategy.aggregate_train(1, messages)
    assert arrays is not None
    found = START + mean(UPDATES[0].astype(np.float64))
    np.testing.assert_allclose(found, arrays.to_numpy_ndarrays()[0], rtol=1e-6, atol=1e-6)
