"""Which rounds count, as the coordinator says: held to what was said, by whichever process of a hospital answers."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.differences import Said, Topic
from client.rounds import Rounds
from shared.errors import PeerError
from tests.client.test_rounds_store import opened, plan, secrets

ALL = ("alder", "birch", "cedar")


def answer(rounds: Rounds, round_: int, attempt: int, counted: Mapping[str, int]) -> None:
    """Alder answers a training."""
    rounds.store(
        plan(attempt), "r", round_, attempt, reply=b"r", secrets=secrets(),
        topic=Topic("noisy train", bytes([attempt])), said=Said("alder", counted),
    )  # fmt: skip


def test_what_another_process_was_told_meanwhile_counts_too(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    for rounds in (one, other):
        rounds.check_said("r", 2, Said("alder", {"alder": 1}))
    answer(one, 2, 1, {"alder": 1})
    with pytest.raises(PeerError, match="to count of alder"):
        answer(other, 2, 2, {})
    assert other.reply(plan(2)) is None, "nothing of it is kept"
    assert one.last_counted("r", "alder") == other.last_counted("r", "alder") == 1


def test_a_sum_that_was_made_anew_without_this_hospital_counts_without_it(tmp_path: Path) -> None:
    rounds = opened(tmp_path)
    answer(rounds, 1, 1, {})
    rounds.close(plan(1), ALL, b"a")
    assert rounds.last_counted("r", "alder") == 1
    rounds.check_said("r", 2, Said("alder", {"birch": 1, "cedar": 1}))
    with pytest.raises(PeerError, match="not of cedar"):
        rounds.check_said("r", 2, Said("alder", {"alder": 1, "birch": 1}))
    answer(rounds, 1, 2, {})
    rounds.close(plan(2), ALL[:2], b"a")
    rounds.check_said("r", 2, Said("alder", {"alder": 1, "birch": 1}))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_an_honest_coordinator_says_is_never_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whoever is missing from rounds, whichever are taken back; a sum that alder helped with may be made anew, with
    others or without alder. Not with alder's part and others alone opening it: then alder refuses, and is lost."""
    rounds, counted, attempt = opened(tmp_path_factory.mktemp("home")), dict[str, int](), 0
    for round_ in range(1, 5):
        over: tuple[str, ...] = ()
        helped = False
        for _ in range(data.draw(st.integers(1, 2))):
            attempt += 1
            if data.draw(st.booleans()) and over:
                over = tuple(site for site in over if site != "alder")
                break
            over = ("alder", *data.draw(st.sampled_from([(), ALL[1:2], ALL[2:], ALL[1:]])))
            answer(rounds, round_, attempt, counted)
            helped = data.draw(st.booleans()) or helped
            if helped:
                rounds.close(plan(attempt), over, b"a")
        if data.draw(st.booleans()):
            counted |= dict.fromkeys(over, round_)
