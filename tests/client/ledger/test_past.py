import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from client.ledger import Ledger, Limits, archive_tag
from client.ledger.copies import is_ledger, opened, pasts_of
from client.ledger.past import Past, Spent, Taken
from shared.accounting import SampledGaussian, Stated, rdp_epsilon
from shared.errors import InputError, RefusalError, SiteError
from tests.client.ledger.cases import DELTA, EVENT, WIDE, patients, purpose
from tests.client.ledger.test_schema import FORMAT_ONE

AT = "2024-05-01T00:00:00Z"
OLD = Stated(epsilon=1.0, delta=1e-6)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "l.sqlite")


def past(whom: list[bytes] | None, round_: int = 0) -> Past:
    return Past(whom, (Spent(OLD, purpose(round_, study="old", run="old", what="imported"), AT),))


def test_what_was_spent_before_composes_and_is_held_against_no_limit_but_counts_in_the_next(ledger: Ledger) -> None:
    assert ledger.take_over([past(patients(0, 2))]) == Taken(charged=1, known=0)
    assert ledger.epsilon(DELTA) == 1.0
    with pytest.raises(RefusalError):
        ledger.reserve(patients(1, 3), EVENT, purpose(0), Limits(rdp_epsilon([EVENT], DELTA) + 0.5, 99, DELTA))
    ledger.reserve(patients(1, 3), EVENT, purpose(0), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT, OLD], DELTA)
    assert ledger.lines(DELTA)[0].first == AT


def test_taken_over_twice_is_once(ledger: Ledger) -> None:
    pasts = [past(patients(0, 2)), past(patients(1, 4), round_=1)]
    ledger.take_over(pasts)
    assert ledger.take_over(pasts) == Taken(charged=0, known=2)
    assert ledger.epsilon(DELTA) == 2.0


def test_whoever_was_not_charged_for_a_plan_is(ledger: Ledger) -> None:
    """The archive has found more patients of the list since: they are charged, the others not again."""
    ledger.take_over([past(patients(0, 2))])
    assert ledger.take_over([past(patients(1, 4))]) == Taken(charged=1, known=0)
    assert ledger.take_over([past(patients(1, 4))]) == Taken(charged=0, known=1)
    assert ledger.epsilon(DELTA) == 1.0
    assert ledger.statement(DELTA).bands((0.0, 1.0)) == (0, 4, 0)


def test_another_event_under_the_same_plan_counts_besides(ledger: Ledger) -> None:
    ledger.take_over([past(patients(0, 2))])
    other = replace(past(patients(0, 2)).spent[0], event=Stated(epsilon=2.0, delta=0.0))
    for _ in range(2):
        ledger.take_over([Past(patients(0, 2), (other,))])
        assert ledger.epsilon(DELTA) == 3.0


def test_everyone_is_whoever_comes_later_too(ledger: Ledger) -> None:
    ledger.reserve(patients(0, 2), EVENT, purpose(0), WIDE)
    ledger.take_over([past(None)])
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT, OLD], DELTA)
    with pytest.raises(RefusalError):
        ledger.reserve(patients(50, 51), EVENT, purpose(1), Limits(rdp_epsilon([EVENT], DELTA) + 0.5, 99, DELTA))
    assert ledger.take_over([past(patients(0, 2))]) == Taken(charged=0, known=1), "everyone was charged that already"
    assert [(line.patients, line.what) for line in ledger.lines(DELTA)] == [(2, "imported"), (2, "train")]


def test_taken_over_as_a_whole_or_not_at_all(ledger: Ledger) -> None:
    wrong = replace(past([b"short"]), spent=past(None, round_=9).spent)
    with pytest.raises(Exception, match="32 bytes"):
        ledger.take_over([past(patients(0, 2)), wrong])
    assert (ledger.epsilon(DELTA), ledger.patients()) == (0.0, frozenset())
    ledger.reserve(patients(0, 1), EVENT, purpose(0), WIDE)
    assert ledger.epsilon(DELTA) == rdp_epsilon([EVENT], DELTA)


def test_a_backup_put_back_and_what_came_since(tmp_path: Path) -> None:
    """The union of both by plan: nothing forgotten, nothing twice."""
    now, backup = Ledger(tmp_path / "now.sqlite"), Ledger(tmp_path / "backup.sqlite")
    for book in (now, backup):
        book.reserve(patients(0, 4), EVENT, purpose(0), WIDE)
    now.reserve(patients(2, 6), EVENT, purpose(1), WIDE)
    backup.reserve(patients(0, 3), EVENT, purpose(2), WIDE)
    before = (tmp_path / "now.sqlite").read_bytes(), (tmp_path / "now.sqlite-wal").read_bytes()
    with opened(tmp_path / "now.sqlite") as other:
        pasts = pasts_of(other, backup, everyone=False)
        assert backup.take_over(pasts) == Taken(charged=1, known=1)
        assert backup.take_over(pasts) == Taken(charged=0, known=2)
    assert backup.epsilon(DELTA) == rdp_epsilon([EVENT] * 3, DELTA)
    assert backup.statement(DELTA).bands([rdp_epsilon([EVENT] * n, DELTA) for n in (1, 2)]) == (2, 3, 1)
    assert before == ((tmp_path / "now.sqlite").read_bytes(), (tmp_path / "now.sqlite-wal").read_bytes())


def test_a_ledger_whose_key_is_lost_is_charged_to_everyone(tmp_path: Path) -> None:
    lost = Ledger(tmp_path / "lost.sqlite", archive=archive_tag(b"a" * 32))
    lost.reserve(patients(0, 2), EVENT, purpose(0), WIDE)
    lost.reserve(patients(2, 4), EVENT, purpose(1), WIDE)
    new = Ledger(tmp_path / "new.sqlite", archive=archive_tag(b"b" * 32))
    with opened(tmp_path / "lost.sqlite") as other:
        with pytest.raises(SiteError, match="--everyone"):
            pasts_of(other, new, everyone=False)
        for taken in (Taken(2, 0), Taken(0, 2)):
            assert new.take_over(pasts_of(other, new, everyone=True)) == taken
    assert new.epsilon(DELTA) == rdp_epsilon([EVENT] * 2, DELTA), "at least what anyone had"
    again = Ledger(tmp_path / "again.sqlite", archive=archive_tag(b"a" * 32))
    with opened(tmp_path / "lost.sqlite") as other, pytest.raises(SiteError, match="without --everyone"):
        pasts_of(other, again, everyone=True)


def test_a_backup_of_format_1_is_known_by_its_patients(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "one.sqlite")) as db:
        db.executescript(FORMAT_ONE)
    mine = Ledger(tmp_path / "l.sqlite", archive=archive_tag(bytes(32)))
    mine.reserve(patients(0, 2), EVENT, purpose(0), WIDE)
    with opened(tmp_path / "one.sqlite") as other:
        with pytest.raises(SiteError, match="another key"):
            pasts_of(other, mine, everyone=False)
        mine.reserve([b"\x04" * 32], EVENT, purpose(1), WIDE)
        assert mine.take_over(pasts_of(other, mine, everyone=False)) == Taken(5, 0)
    with closing(sqlite3.connect(tmp_path / "one.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,), "the file given stays as it is"


def test_what_is_a_ledger(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.sqlite").close()
    (tmp_path / "list.toml").write_text("version = 1\n")
    assert (is_ledger(tmp_path / "l.sqlite"), is_ledger(tmp_path / "list.toml")) == (True, False)
    with pytest.raises(InputError):
        is_ledger(tmp_path / "nothing")


def test_charges_of_a_copy_keep_their_kind(tmp_path: Path) -> None:
    a, b = Ledger(tmp_path / "a.sqlite"), Ledger(tmp_path / "b.sqlite")
    shared = SampledGaussian(sampling_rate=0.1, noise_multiplier=2.0, steps=3, honest=4)
    a.reserve(patients(0, 3), shared, purpose(0, what="evaluate"), WIDE)
    b.take_over(a.history(everyone=False))
    assert b.events("r", "evaluate") == (shared,)
    assert b.statement(DELTA) == a.statement(DELTA)
