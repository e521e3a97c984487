"""The one-run bound against the paper's own figures, against enumeration, and in what it must never do."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.audit.guesses import Guesses


@pytest.mark.parametrize(
    ("canaries", "made", "right", "delta", "published"),
    [
        (1000, 100, 75, 1e-4, 0.673),  # Steinke, Nasr, Jagielski 2023, appendix D
        (100_000, 1510, 1439, 1e-5, 2.675),  # section 7
    ],
)
def test_the_published_figures(canaries: int, made: int, right: int, delta: float, published: float) -> None:
    found = Guesses(canaries=canaries, made=made, right=right).epsilon(delta, level=0.05)
    assert found == pytest.approx(published, abs=1e-3)


def test_the_bound_by_hand() -> None:
    # ε = ln 3: each guess is right with ¾. P[X = 3] = 27/64; below it 27/64 ÷ 1, (27 + 9)/64 ÷ 2, 37/64 ÷ 3
    found = Guesses(canaries=4, made=3, right=3).p_value(math.log(3), 0.01)
    assert found == pytest.approx(27 / 64 + 2 * 4 * 0.01 * max(27 / 64, 36 / 64 / 2, 37 / 64 / 3))


def test_perfect_guesses_prove_what_their_number_allows() -> None:
    # without δ: (e^ε ÷ (e^ε + 1))^r = 0.05
    found = Guesses(canaries=10, made=10, right=10).epsilon(0.0, level=0.05)
    rate = 0.05 ** (1 / 10)
    assert found == pytest.approx(math.log(rate / (1 - rate)), abs=1e-5)


def test_half_of_the_guesses_prove_nothing() -> None:
    assert Guesses(canaries=1000, made=1000, right=500).epsilon(1e-5, level=0.05) == 0


def test_no_guess_proves_nothing() -> None:
    assert Guesses(canaries=5, made=0, right=0).p_value(0.0, 0.5) == 1
    assert Guesses(canaries=5, made=0, right=0).epsilon(0.0, level=0.05) == 0


@pytest.mark.parametrize(("canaries", "made", "right"), [(3, 4, 1), (3, 2, 3), (3, 2, -1)])
def test_numbers_that_contradict_each_other_are_refused(canaries: int, made: int, right: int) -> None:
    with pytest.raises(ValueError, match="right ≤ made ≤ canaries"):
        Guesses(canaries=canaries, made=made, right=right)


@given(made=st.integers(1, 60), more=st.integers(0, 60), epsilon=st.floats(0, 6), delta=st.floats(0, 0.1))
def test_more_right_guesses_are_less_likely(made: int, more: int, epsilon: float, delta: float) -> None:
    chances = [Guesses(canaries=made + more, made=made, right=v).p_value(epsilon, delta) for v in range(made + 1)]
    # the binomial part falls; what δ adds may rise again where the level is far below any that is used
    assert chances[0] == 1
    assert all(0 <= chance <= 1 for chance in chances)
    exact = [Guesses(canaries=made + more, made=made, right=v).p_value(epsilon, 0.0) for v in range(made + 1)]
    assert all(next_ <= last for last, next_ in pairwise(exact))
    assert all(loose >= tight for loose, tight in zip(chances, exact, strict=True))


@given(made=st.integers(1, 200), share=st.floats(0.5, 1), delta=st.floats(0, 1e-3))
def test_a_weaker_promise_is_harder_to_contradict(made: int, share: float, delta: float) -> None:
    guesses = Guesses(canaries=made, made=made, right=round(share * made))
    chances = [guesses.p_value(epsilon / 4, 0.0) for epsilon in range(25)]
    assert all(next_ >= last - 1e-12 for last, next_ in pairwise(chances))
    assert guesses.epsilon(delta, level=0.05) <= guesses.epsilon(0.0, level=0.05) + 1e-6
