"""How the model moves: three numbers, the papers' equations by hand; drift; means that one hospital cannot move far."""

import numpy as np
import pytest
from msgspec.structs import replace

from server.strategies import fedavg, feddyn, fedexp, fednova, robust, scaffold
from server.strategies.choose import strategy_of
from server.strategies.drift import drift
from server.strategies.masked import Crowd, Moving
from shared.algorithms.options import Averaging, Choosing, Common, Extrapolating, Rate, Regularised, Trimming
from shared.errors import MisuseError
from shared.layout import Layout
from shared.study import MINIMAL, parse_study
from shared.update import Update


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


def summed(*mean: float, square: float = 0.0, steps: float = 1.0) -> Update:
    return Update(2, 0, 0, 10, floats(*mean), square, steps)


ZERO = floats(0, 0, 0)


def test_server_momentum_remembers_the_movement() -> None:
    rule, state = fedavg.rule_of(Averaging(server_rate=0.5, server_momentum=0.5)), Moving(ZERO, (ZERO,))
    for _ in range(2):
        state = rule(state, summed(4, 0, -2), Crowd())
    assert state.weights.tolist() == [2 + 3, 0, -1 - 1.5] and state.steps == 2


def test_scaffold_moves_c_by_the_share_of_all_images() -> None:
    training = parse_study(MINIMAL).training  # two steps at rate 0.1: a unit of 0.2
    rule = scaffold.rule_of(Rate(server_rate=0.5), training)
    after = rule(Moving(ZERO, (floats(1, 1, 1),)), summed(2, 0, 4, 0.2, 0, -0.4), Crowd(1, share=0.5, grown=1.0))
    assert after.weights.tolist() == [1, 0, 2]
    np.testing.assert_allclose(after.slots[0], [1 + 0.5, 1, 1 - 1], atol=1e-6)


def test_what_all_hospitals_weigh_may_turn_out_to_be_more() -> None:
    """c was the mean over a quarter of the images; now all are here, and c_i of the others was 0 till then."""
    rule = scaffold.rule_of(Rate(), parse_study(MINIMAL).training)
    after = rule(Moving(ZERO, (floats(4, 0, 0),)), summed(0, 0, 0, 0, 0, 0), Crowd(2, share=1.0, grown=0.25))
    assert after.slots[0].tolist() == [1, 0, 0]


def test_feddyn_by_hand() -> None:
    """α = ½: h ← h − ½ share Δ, w ← w + Δ − 2 h."""
    after = feddyn.rule_of(Regularised(alpha=0.5))(
        Moving(floats(1, 1, 1), (floats(1, 0, 0),)), summed(2, 4, 0), Crowd(1, share=0.5)
    )
    assert after.slots[0].tolist() == [0.5, -1, 0]
    assert after.weights.tolist() == [1 + 2 - 1, 1 + 4 + 2, 1]


@pytest.mark.parametrize(
    ("square", "rate"),
    [(1.0, 1.0), (8.0, 4.0), (1e6, 10.0)],  # never below 1; half of 8 over |Δ|² = 1; at most `most`
)
def test_fedexp_goes_further_where_hospitals_disagree(square: float, rate: float) -> None:
    after = fedexp.rule_of(Extrapolating(epsilon=1e-9, most=10.0))(
        Moving(ZERO), summed(1, 0, 0, square=square), Crowd()
    )
    assert after.weights[0] == pytest.approx(rate, rel=1e-6)


def test_fedexp_needs_the_lengths() -> None:
    with pytest.raises(MisuseError, match="squared lengths"):
        fedexp.rule_of(Extrapolating())(Moving(ZERO), Update(2, 0, 0, 10, ZERO), Crowd())


def test_fednova_takes_the_mean_number_of_steps() -> None:
    after = fednova.rule_of(Rate(server_rate=0.5))(Moving(ZERO), summed(1, 0, -1, steps=6.0), Crowd())
    assert after.weights.tolist() == [3, 0, -3]


def test_drift_is_0_of_equals_1_of_right_angles_and_unknown_of_nothing() -> None:
    assert drift(floats(3, 4), 25.0) == 0
    assert drift(floats(0.5, 0.5), 1.0) == 1.0  # (1, 0) and (0, 1)
    assert drift(floats(1, 0), 5.0) == 2.0  # (1, 2) and (1, −2)
    assert drift(floats(1, 0), 1 - 1e-9) == 0, "rounding is no drift"
    assert drift(floats(0, 0), 1.0) is None and drift(floats(1, 0), None) is None


UPDATES = np.array([[1.0, 0.0], [1.2, 0.1], [0.9, -0.1], [1.1, 0.0], [-1e9, 1e9]])


@pytest.mark.parametrize(
    ("options", "mean"),
    [(Common(), [1.0, 0.0]), (Trimming(trim=0.2), [1.0, 1 / 30]), (Choosing(hostile=1), None)],
)
def test_a_hostile_hospital_among_five(options: Common, mean: list[float] | None) -> None:
    found = robust.mean_of(options)(UPDATES)
    if mean is not None:
        np.testing.assert_allclose(found, mean, atol=1e-9)
    assert np.abs(found - [1.05, 0]).max() < 0.2


def test_an_update_longer_than_allowed_is_shortened_before_any_mean() -> None:
    assert np.linalg.norm(robust._bounded(floats(3e30, -4e30), 5.0)) == pytest.approx(5.0)


def test_a_robust_mean_without_single_updates_is_a_bug() -> None:
    plain = parse_study(MINIMAL)
    asked = replace(
        plain,
        federation=replace(plain.federation, strategy="median"),
        aggregation=replace(plain.aggregation, adversary="none"),
    )
    strategy = strategy_of(asked, Layout(("w",), ((3,),)))
    with pytest.raises(MisuseError, match="3 single updates"):
        strategy.apply(strategy.init(ZERO), None, None, 3)  # type: ignore[arg-type]
