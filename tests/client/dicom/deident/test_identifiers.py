"""Copies of names and numbers in other texts."""

import pytest

from client.dicom.deident.identifiers import Identifiers


@pytest.fixture
def found() -> Identifiers:
    identifiers = Identifiers()
    identifiers.add_name("Muster^Erika Li=穆斯特^艾丽卡")
    identifiers.add_number("PAT-4711")
    identifiers.add_number("77")
    return identifiers


@pytest.mark.parametrize(
    "text",
    [
        "Thorax MUSTER",
        "x_muster_2024",
        "Mustermann",  # a part of five letters, within a word
        "CT/erika",
        "must er",  # spaces are punctuation
        "Li",
        "for li, ap",
        "pat 4711",
        "ID:PAT-4711/2",
        "00pat471100",
        "穆斯特",
        "ＭＵＳＴＥＲ",  # wide letters of Japanese character sets
    ],
)
def test_copies_are_found(found: Identifiers, text: str) -> None:
    assert found.in_text(text)


@pytest.mark.parametrize("text", ["", "LINEAR", "4711", "77", "Thorax ap", "PAT-4712"])
def test_others_are_not(found: Identifiers, text: str) -> None:
    assert not found.in_text(text)


@pytest.mark.parametrize("encoding", ["ascii", "utf-16-le", "utf-16-be"])
def test_bytes_are_searched_for_the_longer_ones(found: Identifiers, encoding: str) -> None:
    assert found.in_bytes(b"\x01\x02" + "Frau Muster".encode(encoding))
    assert not found.in_bytes("Frau Li".encode(encoding))


def test_without_identifiers_nothing_is_found() -> None:
    assert not Identifiers().in_text("anything")
    assert not Identifiers().in_bytes(b"anything")


def test_none_is_in_the_repr(found: Identifiers) -> None:
    assert "muster" not in repr(found).lower()
