from collections.abc import Callable

from msgspec.structs import replace

from server.report.promises import least_honest, promises
from server.report.result import Result


def test_mode_local_rests_on_the_hospital_alone(good: Result) -> None:
    trained = promises(good)[0]
    assert trained.made and "ε of at most 7.93 in this run, at δ 10⁻⁵" in trained.what
    assert "Everyone" in trained.against and "whatever others do" in trained.rests


def test_mode_distributed_names_colluders_honest_hospitals_and_what_is_left_without_them(priced: Result) -> None:
    trained = promises(priced)[0]
    assert trained.made and "up to 1 other hospital." in trained.against
    assert "2 hospitals in every sum" in trained.rests and "alone would bound ε by 23.50" in trained.rests


def test_the_worst_hospital_counts(priced: Result) -> None:
    worse = replace(priced.privacy["north"], epsilon_run=7.99, epsilon_alone=31.0)
    trained = promises(replace(priced, privacy={**priced.privacy, "north": worse}))[0]
    assert "7.99" in trained.what and "31.00" in trained.rests


def test_a_hospital_that_never_trained_says_nothing_of_whom_it_rests_on(priced: Result) -> None:
    """Its row has the default of 1; the steps of the others rested on two all the same."""
    absent = replace(priced.privacy["north"], honest=1, noise_multiplier=None, epsilon_run=0.0, epsilon_alone=None)
    result = replace(priced, privacy={**priced.privacy, "north": absent})
    assert least_honest(result) == 2
    assert "2 hospitals in every sum" in promises(result)[0].rests


def test_before_any_hospital_spent_the_assumption_follows_from_the_study(priced: Result) -> None:
    trained = promises(replace(priced, privacy={}))[0]
    assert not trained.made and "2 hospitals in every sum" in trained.rests  # 4 at least, 3 to unmask, 1 may collude


def test_off_promises_nothing(troubled: Result) -> None:
    trained = promises(troubled)[0]
    assert not trained.made and "Nothing" in trained.what


def test_held_out_patients_have_a_price_where_evaluations_have_noise(priced: Result) -> None:
    assert priced.evaluation is not None
    held_out, splits = promises(priced)[1], priced.evaluation.splits
    assert held_out.made and "validation (12 evaluations)" in held_out.what and "test (1 evaluation)" in held_out.what
    assert f"{splits['test'].epsilon:.2f} for those of the test" in held_out.what and "up to 1.97" in held_out.what
    assert all(0 < own.epsilon <= 2.0 for own in splits.values())


def test_exact_evaluations_promise_nothing(good: Result) -> None:
    held_out = promises(good)[1]
    assert not held_out.made and "exact" in held_out.rests


def test_counts_of_the_survey_are_said_to_be_outside(altered: Callable[..., Result]) -> None:
    assert "No ε" in promises(altered())[2].what
