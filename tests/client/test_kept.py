"""What a hospital keeps between rounds: whole or not there, of the round that counts and no other."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from client.kept import Keeper
from shared.errors import SiteError


def kept(value: float) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    return {"control": np.full(3, value, np.float32)}


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "kept", most_bytes=1 << 20)


def made(keeper: Keeper, round_: int, value: float, *, counted: int, reply: bytes = b"reply") -> None:
    keeper.draft("run", round_, reply, kept(value), counted=counted)
    keeper.settle("run", round_, reply)


def value_of(keeper: Keeper, round_: int) -> float | None:
    found = keeper.of_round("run", round_)
    return float(found["control"][0]) if found else None


def test_a_round_goes_on_from_the_one_that_counted(keeper: Keeper) -> None:
    assert value_of(keeper, 0) is None
    made(keeper, 1, 1.0, counted=0)
    made(keeper, 2, 2.0, counted=1)
    assert (value_of(keeper, 1), value_of(keeper, 2), value_of(keeper, 3)) == (1.0, 2.0, None)
    made(keeper, 3, 3.0, counted=1)  # round 2 was taken back
    assert (value_of(keeper, 1), value_of(keeper, 2), value_of(keeper, 3)) == (1.0, None, 3.0)
    assert float(keeper.newest("run")["control"][0]) == 3.0


def test_a_second_attempt_takes_the_place_of_the_first(keeper: Keeper) -> None:
    made(keeper, 1, 1.0, counted=0, reply=b"first")
    made(keeper, 1, 2.0, counted=0, reply=b"second")
    assert value_of(keeper, 1) == 2.0


def test_a_draft_counts_for_nothing_until_its_reply_stands(keeper: Keeper) -> None:
    """Killed after the draft: the plan is asked again, and answered with other randomness."""
    keeper.draft("run", 1, b"lost", kept(1.0), counted=0)
    assert value_of(keeper, 1) is None and not keeper.newest("run")
    made(keeper, 1, 2.0, counted=0, reply=b"sent")
    assert value_of(keeper, 1) == 2.0
    assert not list(keeper.folder("run").glob("*.draft"))


def test_killed_before_it_settled_the_stored_reply_settles_it(keeper: Keeper, tmp_path: Path) -> None:
    keeper.draft("run", 1, b"stored", kept(1.0), counted=0)
    Keeper(tmp_path / "kept", most_bytes=1 << 20).settle("run", 1, b"stored")
    keeper.settle("run", 1, b"stored")  # asked once more
    assert value_of(keeper, 1) == 1.0


@pytest.mark.parametrize("order", ["the winner settles first", "the loser settles first"])
def test_of_two_processes_that_answer_one_plan_the_stored_reply_decides(keeper: Keeper, order: str) -> None:
    keeper.draft("run", 1, b"stands", kept(1.0), counted=0)
    if order == "the winner settles first":
        keeper.settle("run", 1, b"stands")
    keeper.draft("run", 1, b"does not", kept(2.0), counted=0)
    keeper.settle("run", 1, b"stands")
    assert value_of(keeper, 1) == 1.0


def test_runs_do_not_see_each_other(keeper: Keeper) -> None:
    made(keeper, 1, 1.0, counted=0)
    assert not keeper.of_round("other", 1) and not keeper.newest("other")


def test_nothing_is_written_where_there_is_nothing_to_keep(keeper: Keeper) -> None:
    keeper.draft("run", 1, b"reply", {}, counted=0)
    keeper.settle("run", 1, b"reply")
    assert not keeper.folder("run").exists()


def test_it_is_for_its_owner_alone(keeper: Keeper) -> None:
    made(keeper, 1, 1.0, counted=0)
    assert keeper.folder("run").parent.stat().st_mode & 0o777 == 0o700
    (file,) = keeper.folder("run").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_has_no_room_is_refused_and_leaves_what_was(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "kept", most_bytes=150)
    made(keeper, 1, 1.0, counted=0)
    with pytest.raises(SiteError, match=r"kept between rounds: expected at most 150 bytes \(kept_gib"):
        made(keeper, 2, 2.0, counted=1)
    assert value_of(keeper, 1) == 1.0


def test_a_damaged_file_is_named(keeper: Keeper) -> None:
    made(keeper, 1, 1.0, counted=0)
    (file,) = keeper.folder("run").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SiteError, match="expected what an earlier round kept, got a damaged file"):
        keeper.of_round("run", 1)


def test_runs_not_trained_for_long_are_forgotten(keeper: Keeper) -> None:
    made(keeper, 1, 1.0, counted=0)
    assert keeper.forget(3600) == 0
    old = time.time() - 7200
    os.utime(keeper.folder("run"), (old, old))
    assert keeper.forget(3600) == 1
    assert value_of(keeper, 1) is None
