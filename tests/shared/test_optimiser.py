"""Against torch.optim, step by step; schedules by their ends."""

import numpy as np
import pytest
import torch

from shared import optimiser
from shared.optimiser import Settings, learning_rate
from shared.study import Training


@pytest.mark.parametrize(
    "settings",
    [
        Settings("sgd"),
        Settings("sgd", momentum=0.9),
        Settings("sgd", momentum=0.5, weight_decay=0.1),
        Settings("adam"),
        Settings("adam", weight_decay=0.1),
    ],
)
def test_every_step_is_torchs(settings: Settings) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(7).astype(np.float32)
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    theirs = (
        torch.optim.Adam([weight], lr=0.1, weight_decay=settings.weight_decay)
        if settings.name == "adam"
        else torch.optim.SGD([weight], lr=0.1, momentum=settings.momentum, weight_decay=settings.weight_decay)
    )
    ours = optimiser.init(start, settings.name)
    for _ in range(20):
        gradient = rng.standard_normal(7)
        weight.grad = torch.from_numpy(gradient.astype(np.float32))
        theirs.step()
        ours = optimiser.apply(ours, gradient, settings, rate=0.1)
        np.testing.assert_allclose(ours.weights, weight.detach().numpy(), rtol=2e-5, atol=2e-6)
    assert ours.steps == 20


def test_state_is_never_changed() -> None:
    state = optimiser.init(np.ones(3), "adam")
    optimiser.apply(state, np.ones(3), Settings("adam"), rate=1.0)
    assert state.weights.tolist() == [1, 1, 1] and not any(slot.any() for slot in state.slots) and state.steps == 0


def test_the_rate_of_a_resumed_run_is_that_of_the_round() -> None:
    training = Training(rounds=10, batch=1, local_steps=1, learning_rate=1.0, schedule="cosine", warmup=4)
    rates = [learning_rate(training, round) for round in range(1, 11)]
    assert rates[0] == pytest.approx(0.2) and max(rates) < 1 and rates[-1] == pytest.approx(0.1)
    assert all(rate > 0 for rate in rates)
