"""A hospital's vote: what is worse, when it abstains, what it remembers."""

from pathlib import Path

import pytest

from client.votes import REMEMBERED, Vote, Votes, is_worse
from shared.errors import SiteError
from shared.judged import Better, Figure

A, B, C = (bytes([k]) * 32 for k in range(3))


def figure(value: float | None, better: Better = "higher") -> Figure:
    return Figure("figure", value, "A figure", better=better)


@pytest.mark.parametrize(
    ("now", "before", "better", "worse"),
    [
        (0.80, 0.80, "higher", False),
        (0.77, 0.80, "higher", False),  # within 5 %
        (0.75, 0.80, "higher", True),
        (0.90, 0.80, "higher", False),
        (1.06, 1.00, "lower", True),
        (1.04, 1.00, "lower", False),
        (0.50, 1.00, "lower", False),
        (None, 0.80, "higher", True),  # the model gives no number
        (None, 0.80, "lower", True),
    ],
)
def test_worse_is_worse_by_more_than_the_tolerance(
    now: float | None, before: float, better: Better, worse: bool
) -> None:
    assert is_worse(figure(now, better), before=figure(before, better)) == worse


def test_it_abstains_of_what_it_does_not_know(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "run" / "figures.json")
    assert votes.on(A, figure(0.8), b"") == Vote(0, 0)
    assert votes.on(C, figure(0.8), B) == Vote(0, 0)
    assert Votes(tmp_path / "other.json").on(B, figure(None), b"") == Vote(0, 0)
    assert Votes(tmp_path / "other.json").on(C, figure(0.1), B) == Vote(0, 0)


def test_it_remembers_on_disk_and_the_same_question_gets_the_same_vote(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    Votes(path).on(A, figure(0.8), b"")
    assert Votes(path).on(B, figure(0.5), A) == Votes(path).on(B, figure(0.5), A) == Vote(1, 1)
    assert Votes(path).on(C, figure(0.8), A) == Vote(0, 1)


def test_it_forgets_the_oldest(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "figures.json")
    for number in range(REMEMBERED + 1):
        votes.on(bytes([number]) * 32, figure(0.8), b"")
    assert votes.on(C, figure(0.1), bytes([1]) * 32) == Vote(1, 1)
    assert votes.on(C, figure(0.1), bytes([0]) * 32) == Vote(0, 0)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_bytes(b"{")
    with pytest.raises(SiteError, match="figures of earlier models"):
        Votes(tmp_path / "figures.json").on(A, figure(0.8), B)
