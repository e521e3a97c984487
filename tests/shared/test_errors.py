import pickle

from shared.errors import InputError, RefusalError


def test_a_message_says_thing_expected_got_and_what_to_do() -> None:
    error = InputError("study.toml: name", expected="a name", got="3", do="Quote it.")
    assert str(error) == "study.toml: name: expected a name, got 3. Quote it."
    assert str(InputError("just that")) == "just that."


def test_errors_cross_processes_whole() -> None:
    for error in (InputError("a", expected="b", got="c", do="d"), RefusalError("a", rule="r.x", expected="b")):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (str(again), vars(again)) == (str(error), vars(error))
