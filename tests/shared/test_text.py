import pytest

from shared.text import GAP, decimal, is_plain, printable


@pytest.mark.parametrize("hostile", ["\x1b[31m", "\n", "\r", "\u202e", "\u2066", "\u200f", "\x9b", "\x7f", "\ue000"])
def test_what_steers_a_terminal_or_turns_a_line_is_gone(hostile: str) -> None:
    text = f"a{hostile}b"
    assert not is_plain(text)
    assert is_plain(printable(text))


def test_words_of_any_language_stay() -> None:
    text = "Größe, כן, 結節 [red]"
    assert is_plain(text)
    assert printable(text) == text
    assert printable(f"1{GAP}s") == f"1{GAP}s"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.91234, "0.912"), (1234.5, "1,234.500"), (0.01, "0.010"), (0.0031, "0.0031"), (0.00031, "0.00031"),
        (-0.00031, "-0.00031"), (0.0, "0.000"), (-1e-17, "0.000"), (2.5e-8, "0.000000025"),
    ],
)  # fmt: skip
def test_a_small_figure_is_not_read_as_nothing(value: float, text: str) -> None:
    assert decimal(value) == text


def test_decimals_that_are_asked_for() -> None:
    assert decimal(2.0, 0) == "2"
    assert decimal(0.05, 2) == "0.05"
