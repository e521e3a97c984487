import numpy as np
import pytest

from server.strategies import fedavg


def test_the_model_moves_by_the_mean_update() -> None:
    state = fedavg.apply(fedavg.init(np.zeros(2, np.float32)), np.array([1, 2], np.float32), averaging=0.0)
    assert state.weights.tolist() == [1, 2]
    assert state.result.tolist() == [1, 2]


def test_averaging_is_corrected_for_its_start() -> None:
    state = fedavg.init(np.zeros(1, np.float32))
    seen = []
    for _ in range(3):
        state = fedavg.apply(state, np.ones(1, np.float32), averaging=0.5)
        seen.append(float(state.result[0]))
    assert seen == pytest.approx([1.0, (1 * 0.5 + 2) / 1.5, (1 * 0.25 + 2 * 0.5 + 3) / 1.75])
    assert state.weights.tolist() == [3]
