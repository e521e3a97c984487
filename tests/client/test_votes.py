"""A hospital's vote: what is worse, when it abstains, what it remembers, and how often it is right."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from client.standing import GROUPS, Standing
from client.votes import FEWEST, REMEMBERED, TOLERANCE, Vote, Votes, vote
from shared.errors import SiteError
from shared.judged import Better, Figure

A, B, C = (bytes([k]) * 32 for k in range(3))
Row = NDArray[np.float64]


def worth(value: float | None, better: Better = "higher", *, spread: float = 0.0, patients: int = 10) -> Standing:
    """A model of which patients say the same, but that every other one moves the figure by `spread`."""
    figure = Figure("figure", value, "A figure", better=better)
    good = 0.0 if value is None else value if better == "higher" else -value
    without = tuple(good + spread * (-1) ** k / (patients - 1) for k in range(patients))
    return Standing(figure, without, "aa", patients)


@pytest.mark.parametrize(
    ("now", "before", "better", "harmful"),
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
    now: float | None, before: float, better: Better, harmful: bool
) -> None:
    assert vote(worth(now, better), before=worth(before, better)) == Vote(int(harmful), 1)


@pytest.mark.parametrize(("spread", "harmful"), [(0.3, True), (0.4, False)])
def test_worse_is_worse_beyond_chance(spread: float, harmful: bool) -> None:
    """Of 10 patients who say that the figure fell by 0.3 ± spread the mean is known to 2.262 × spread ÷ √9, 0.23 or
    0.30; from 0.8 it must fall by 0.04."""
    found = vote(worth(0.5, spread=spread), before=worth(0.8))
    assert found == Vote(int(harmful), 1)


def test_it_abstains_where_it_cannot_tell() -> None:
    few = FEWEST - 1
    assert vote(worth(0.1, patients=few), before=worth(0.8, patients=few)) == Vote(0, 0)
    assert vote(worth(0.1, patients=FEWEST), before=worth(0.8, patients=FEWEST)) == Vote(1, 1)
    assert vote(worth(0.1), before=worth(None)) == Vote(0, 0)
    assert vote(worth(0.1), before=replace(worth(0.8), whose="bb")) == Vote(0, 0)
    known = worth(0.8)
    assert vote(worth(0.1), before=replace(known, without=(None, *known.without[1:]))) == Vote(0, 0)


def area(scores: Row, label: Row) -> float:
    """Under the ROC curve: how many pairs are in order, ties half."""
    apart = scores[label == 1][:, None] - scores[label == 0]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def seen(scores: Row, label: Row) -> Standing:
    """Of the model that gives `scores`."""
    group = np.arange(len(scores)) % GROUPS
    without = tuple(area(scores[group != k], label[group != k]) for k in range(GROUPS))
    return Standing(Figure("auc", area(scores, label), "AUC"), without, "aa", len(scores))


@pytest.mark.parametrize(("patients", "least"), [(20, 0.6), (40, 0.85), (80, 0.98)])
def test_chance_is_seldom_taken_for_harm_and_a_ruined_model_is_mostly_seen(patients: int, least: float) -> None:
    """Honest rounds move every score a little; figures alone would call many of them harmful."""
    rng, number = np.random.default_rng(7), 200
    label = rng.permutation(np.arange(patients) % 5 < 2).astype(np.float64)
    honest, ruined, fooled = 0, 0, 0
    for _ in range(number):
        shows = 1.5 * label + rng.normal(0, 1, patients)  # how clearly the finding shows: AUC about 0.86
        before, after = (seen(shows + rng.normal(0, 0.6, patients), label) for _ in range(2))
        honest += vote(after, before=before).harmful
        fooled += area_of(after) < (1 - TOLERANCE) * area_of(before)
        ruined += vote(seen(np.zeros(patients), label), before=before).harmful
    assert honest <= 0.01 * number and ruined >= least * number
    assert fooled >= 5 * max(1, honest), "the rounds would not have put a vote to the test"


def area_of(standing: Standing) -> float:
    return standing.figure.value or 0.0


def test_it_abstains_where_there_is_nothing_to_compare(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "run" / "standings.json")
    assert votes.on(A, worth(0.8), b"") == votes.on(C, worth(0.8), b"") == Vote(0, 0)
    assert Votes(tmp_path / "other.json").on(B, worth(None), b"") == Vote(0, 0)
    assert Votes(tmp_path / "other.json").on(C, worth(0.1), B) == Vote(0, 0)


def test_it_remembers_on_disk_and_the_same_question_gets_the_same_vote(tmp_path: Path) -> None:
    path = tmp_path / "standings.json"
    Votes(path).on(A, worth(0.8), b"")
    assert Votes(path).on(B, worth(0.5), A) == Votes(path).on(B, worth(0.5), A) == Vote(1, 1)
    assert Votes(path).on(C, worth(0.8), A) == Vote(0, 1)


def test_it_forgets_the_oldest_and_says_so(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "standings.json")
    for number in range(REMEMBERED + 1):
        votes.on(bytes([number]) * 32, worth(0.8), b"")
    assert votes.on(C, worth(0.1), bytes([1]) * 32) == Vote(1, 1)
    with pytest.raises(SiteError, match="to remember what the model before was worth here"):
        votes.on(C, worth(0.1), bytes([0]) * 32)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "standings.json").write_bytes(b"{")
    with pytest.raises(SiteError, match="what earlier models were worth"):
        Votes(tmp_path / "standings.json").on(A, worth(0.8), B)
