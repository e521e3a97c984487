"""Which rounds the hospitals' votes take back, and which round each hospital goes on from."""

import numpy as np
import pytest
from msgspec.structs import replace

from server.checkpoints import Checkpoint, Memory
from server.guard import MOST, accepted, check_harm, counted, taken_back, voted
from server.report.result import RoundRow
from server.strategies.base import State
from shared.errors import OperatorError
from shared.evaluated import Evaluated, model_digest
from shared.study import MINIMAL, parse_study

STUDY = parse_study(MINIMAL)
KEEPING = replace(STUDY, federation=replace(STUDY.federation, strategy="feddyn"))


def row(round_: int, *trained: str, back: bool = False) -> RoundRow:
    return RoundRow(
        round=round_, attempt=round_, trained=trained, evaluated=(), seconds=1.0, slowest_site_s=1.0, bytes_down=0,
        bytes_up=0, scaled_down=0, validation_auc=None, validation_ece=None, taken_back=back,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("harmful", "votes", "back"), [(0, 0, False), (0, 3, False), (1, 2, False), (2, 3, True), (1, 1, True)]
)
def test_more_than_half_of_the_votes_take_a_round_back(harmful: int, votes: int, back: bool) -> None:
    counts = Evaluated((), harmful=harmful, votes=votes)
    found = voted(row(2, "a"), counts, asked=True)
    assert (found.harmful, found.votes, found.taken_back) == (harmful, votes, back)
    assert voted(row(2, "a"), counts, asked=False) == row(2, "a"), "nobody was asked"


def test_a_round_taken_back_leaves_the_state_before_it() -> None:
    weights = np.ones(2, np.float32)
    before = State(weights, weights, 1.5, (weights,), 3, 0.0, 40)
    after = Checkpoint(
        Memory(run="r", study_hash="00", round=4, best_round=2), State(weights * 9, weights * 9), weights
    )
    found = taken_back(after, before)
    assert found.state is before and found.memory.round == 4 and found.memory.best_round == 2
    assert (found.memory.mass, found.memory.steps, found.memory.weight) == (1.5, 3, 40)


def test_the_model_that_stands_is_what_the_next_vote_compares_with() -> None:
    weights = np.ones(2, np.float32)
    checkpoint = Checkpoint(Memory(run="r", study_hash="00"), State(weights, weights), weights)
    guarded = replace(STUDY, federation=replace(STUDY.federation, guard=True))
    travelled = weights.data.cast("B")
    assert accepted(guarded, checkpoint, travelled).memory.voted == model_digest(travelled).hex()
    assert accepted(STUDY, checkpoint, travelled) is checkpoint


def test_so_many_rounds_in_a_row_end_the_run() -> None:
    bad = tuple(row(number, "a", back=True) for number in range(2, 2 + MOST))
    check_harm(Memory(run="r", study_hash="00", rows=(row(1, "a"), *bad[:-1])))
    check_harm(Memory(run="r", study_hash="00", rows=(*bad[:-1], row(5, "a"))))
    with pytest.raises(OperatorError, match=f"{MOST} in a row that were taken back"):
        check_harm(Memory(run="r", study_hash="00", rows=(row(1, "a"), *bad)))


def test_a_hospital_goes_on_from_its_last_round_that_stands() -> None:
    rows = (row(1, "a", "b"), row(2, "a"), row(3, "a", "b", back=True), row(4, "b"))
    assert counted(KEEPING, rows) == {"a": 2, "b": 4}
    assert counted(KEEPING, ()) == {} and counted(STUDY, rows) == {}
