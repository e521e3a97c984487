"""Descriptions reduced to safe words."""

import pytest

from client.dicom.deident.vocabulary import cleaned, vocabulary


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("CT chest abdomen pelvis - 55F Dr. Smith", "CT chest abdomen pelvis"),
        ("T2_TSE_sag", "T2 TSE sag"),
        ("PAT-4711", ""),
        ("5.0 x 5.0", ""),
        ("", ""),
    ],
)
def test_only_words_of_the_list_stay(text: str, result: str) -> None:
    assert cleaned(text) == result


def test_the_list_holds_words_in_lower_case() -> None:
    assert len(vocabulary()) > 400
    assert all(word == word.casefold() and word.isalnum() and not word.isdigit() for word in vocabulary())
