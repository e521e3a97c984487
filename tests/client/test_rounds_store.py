"""What a site remembers of runs and plans, with two processes at the same home."""

from pathlib import Path

import numpy as np
import pytest

from client.ledger import Ledger, Limits, Purpose
from client.rounds import Rounds, RunState
from shared.accounting import SampledGaussian
from shared.crypto.identity import Identity
from shared.crypto.roster import SignedRoster
from shared.errors import PeerError, SiteError
from shared.messages.requests import Join
from shared.secagg.member import RoundState
from shared.secagg.rehearsal import Federation
from shared.study import MINIMAL, parse_study

FEDERATION = Federation.of(2, run="r")


def opened(path: Path) -> Rounds:
    """One process's view of the store, with run "r" joined."""
    rounds = Rounds(path / "rounds.sqlite")
    own = FEDERATION.hospitals[0]
    invitation = Join(
        run="r",
        study=parse_study(MINIMAL),
        signature=b"",
        roster=SignedRoster(roster=b"", signature=Identity.generate().public),
    )
    rounds.join(RunState(join=invitation, key=own.run_key, record=own.join))
    return rounds


def secrets() -> RoundState:
    plan = FEDERATION.plan(length=1)
    return FEDERATION.contribute(plan, FEDERATION.hospitals[0], np.zeros(1, np.uint32))[0]


def plan(number: int) -> bytes:
    return bytes([number]) * 32


def test_the_first_process_to_store_a_plan_decides_its_reply(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    assert one.store(plan(1), "r", 1, 1, reply=b"first", secrets=secrets()) == b"first"
    assert other.store(plan(1), "r", 1, 1, reply=b"second", secrets=secrets()) == b"first"
    assert one.reply(plan(1)) == other.reply(plan(1)) == b"first"


@pytest.mark.parametrize(("round_", "attempt"), [(1, 1), (1, 0), (0, 2)])
def test_a_plan_that_another_process_overtook_is_refused_and_not_kept(
    tmp_path: Path, round_: int, attempt: int
) -> None:
    """Both found their plan new and worked on it; only the later plan may be answered after the later plan was."""
    one, other = opened(tmp_path), opened(tmp_path)
    for rounds, at in ((one, (round_, attempt)), (other, (1, 1))):
        rounds.check_newer("r", *at)
    other.store(plan(2), "r", 1, 1, reply=b"later", secrets=secrets())
    with pytest.raises(PeerError, match="expected an attempt after 1, round 1 or later"):
        one.store(plan(1), "r", round_, attempt, reply=b"earlier", secrets=secrets())
    assert one.reply(plan(1)) is None
    assert one.reply(plan(2)) == b"later"


U, V = ("a", "b"), ("a", "c")


def test_two_processes_give_one_answer_to_an_unmask_request(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.store(plan(1), "r", 1, 1, reply=b"", secrets=secrets())
    assert one.answer(plan(1), U).secrets == other.answer(plan(1), V).secrets is not None
    assert one.close(plan(1), U, b"shares for U") == b"shares for U"
    assert other.close(plan(1), U, b"other shares for U") == b"shares for U"
    with pytest.raises(PeerError, match="the ones this site settled on for the plan, got others"):
        other.close(plan(1), V, b"shares for V")


def test_two_processes_confirm_one_survivor_set(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.store(plan(1), "r", 1, 1, reply=b"", secrets=secrets())
    assert one.confirmation(plan(1), U).secrets == other.confirmation(plan(1), V).secrets is not None
    assert one.confirm(plan(1), U, b"signed U") == b"signed U"
    assert other.confirm(plan(1), U, b"signed U again") == b"signed U"
    for call in (other.confirm, other.close):
        with pytest.raises(PeerError, match="the ones this site settled on for the plan, got others"):
            call(plan(1), V, b"for V")
    assert other.close(plan(1), U, b"shares for U") == b"shares for U"
    assert one.confirmation(plan(1), U).stored == b"signed U", "asked again after the unmasking"


def test_what_was_unmasked_unconfirmed_is_settled_too(tmp_path: Path) -> None:
    rounds = opened(tmp_path)
    rounds.store(plan(1), "r", 1, 1, reply=b"", secrets=secrets())
    rounds.close(plan(1), U, b"shares for U")
    with pytest.raises(PeerError, match="the ones this site settled on"):
        rounds.confirm(plan(1), V, b"signed V")
    with pytest.raises(PeerError, match="one that a later plan has replaced"):
        rounds.confirm(plan(1), U, b"signed U")


EVENT = SampledGaussian(sampling_rate=0.1, noise_multiplier=1.5, steps=20)
WIDE = Limits(epsilon_total=100, epsilon_per_study=100, delta=1e-5)


def test_a_plan_charged_for_some_patients_is_never_trained_on_others(tmp_path: Path) -> None:
    """A crash after the charge, then new patients in the archive, then the same plan again."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    purpose = Purpose(bytes(32), "s", bytes(32), "r", 1)
    ledger.reserve([b"a" * 32], EVENT, purpose, WIDE)
    with pytest.raises(SiteError, match="expected those this plan was charged for"):
        ledger.reserve([b"a" * 32, b"b" * 32], EVENT, purpose, WIDE)
    ledger.reserve([b"a" * 32], EVENT, purpose, WIDE)
    assert ledger.events("r") == (EVENT,)
    (line,) = ledger.lines(1e-5)
    assert line.patients == 1
