"""DP-SGD at the coordinator: three numbers, exact answers."""

import numpy as np
import pytest
from msgspec.structs import replace

from server.strategies import dpsgd
from shared.clipping import BIT, RANGE
from shared.layout import Layout
from shared.study import MINIMAL, Privacy, Study, parse_study

LAYOUT = Layout(("a", "b"), ((1,), (2,)))


def study(**training: object) -> Study:
    plain = parse_study(MINIMAL)
    privacy = Privacy(mode="distributed", epsilon=8.0, delta=1e-5, clip=2.0, sampling_rate=0.5)
    changed = replace(plain.training, local_steps=1, batch=4, learning_rate=0.5, **training)
    return replace(plain, training=changed, privacy=privacy)


def start() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array([1, 2, 3], np.float32)


def test_a_step_goes_along_the_sum_over_the_public_batch() -> None:
    state = dpsgd.init(start(), study(), LAYOUT)
    state = dpsgd.apply(state, np.array([4.0, 8.0, -8.0]), study(), LAYOUT)
    assert state.weights.tolist() == [0.5, 1.0, 4.0] and state.result.tolist() == state.weights.tolist()
    assert (state.steps, state.clip) == (1, 2.0)


def test_momentum_is_remembered_from_round_to_round() -> None:
    asked = study(momentum=0.5)
    state = dpsgd.init(start(), asked, LAYOUT)
    for _ in range(2):
        state = dpsgd.apply(state, np.array([4.0, 0.0, 0.0]), asked, LAYOUT)
    assert state.weights.tolist() == [1 - 0.5 - 0.75, 2, 3]


def test_frozen_weights_stay() -> None:
    layout = Layout(("a", "b"), ((1,), (2,)), frozenset({"a"}))
    state = dpsgd.apply(dpsgd.init(start(), study(), layout), np.array([4.0, 8.0]), study(), layout)
    assert state.weights.tolist() == [1, 1.5, 2.0] and len(state.slots[0]) == 2


def test_the_result_is_the_average_over_steps() -> None:
    asked = replace(study(), federation=replace(study().federation, averaging=0.5))
    state = dpsgd.init(start(), asked, LAYOUT)
    for _ in range(2):
        state = dpsgd.apply(state, np.array([-8.0, 0.0, 0.0]), asked, LAYOUT)
    assert state.weights[0] == 3 and state.result[0] == pytest.approx((2 * 0.5 + 3) / 1.5)


def test_an_adaptive_clip_follows_the_last_entry_and_stays_in_range() -> None:
    asked = replace(study(), privacy=replace(study().privacy, clip_quantile=0.5))
    state = dpsgd.init(start(), asked, LAYOUT)
    inside = BIT * 2.0 * 4 / 2  # everybody was within
    below = dpsgd.apply(state, np.array([0.0, 0, 0, inside]), asked, LAYOUT)
    above = dpsgd.apply(state, np.array([0.0, 0, 0, -inside]), asked, LAYOUT)
    assert below.clip == pytest.approx(2.0 * np.exp(-0.1)) and above.clip == pytest.approx(2.0 * np.exp(0.1))
    for _ in range(200):
        below = dpsgd.apply(below, np.array([0.0, 0, 0, 1e12]), asked, LAYOUT)
    assert below.clip == 2.0 / RANGE
