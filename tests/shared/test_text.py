import pytest

from shared.text import GAP, is_plain, printable


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
