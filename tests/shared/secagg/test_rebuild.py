"""Steps 3 and 4 at the coordinator: what it takes for an answer, and how it finds and names wrong shares and seeds."""

from typing import Any

import pytest
from msgspec.structs import replace

from shared.errors import OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.messages import UnmaskAnswer
from shared.secagg.sharing import SHARE_BYTES
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import Rounds, Sums, flip, rounds_of


def complete(case: Rounds, collector: Collector, names: str, **lies: dict[str, Any]) -> Sums:
    """Answers of `names`, each with its lies, then the sum."""
    for name in names:
        assert collector.answer(case.signed_answer(collector, name, **lies.get(name, {}))) == name
    return case.read(collector.finish())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": bytes(32)}, "plan"),
        ({"site": "b"}, "signature"),
        ({"site": "e"}, "dropped site"),
        ({"site": "z"}, "member of the cohort"),
        ({"survivors": bytes(32)}, "survivors"),
        ({"self_shares": b""}, "self shares of a"),
        ({"pair_seeds": bytes(33)}, "pair seeds of a"),
        ({"pair_shares": bytes(1)}, "pair shares of a"),
    ],
)
def test_a_hostile_answer_changes_nothing(case: Rounds, change: dict[str, Any], match: str) -> None:
    collector = case.unmasking("abcd")
    with pytest.raises(PeerError, match=match):
        collector.answer(case.signed_answer(collector, "a", **change))
    assert complete(case, collector, "abcd") == case.total_of("abcd")


def test_a_second_answer_is_refused(case: Rounds) -> None:
    collector = case.unmasking("abcd")
    data = case.unmask("a", collector.request("a"))
    collector.answer(data)
    with pytest.raises(PeerError, match="a second"):
        collector.answer(data)


def test_an_unsigned_answer_is_refused(case: Rounds) -> None:
    collector = case.unmasking("abcd")
    answer = unpack(UnmaskAnswer, case.signed_answer(collector, "a"))
    with pytest.raises(PeerError, match="signature"):
        collector.answer(pack(replace(answer, signature=bytes(64))))


def test_an_answer_of_another_survivor_set_is_refused(case: Rounds) -> None:
    """Rightly signed, for the same plan, and of the same length: a, b, c, d against a, b, c, e."""
    elsewhere = case.unmasking("abce")
    collector = case.unmasking("abcd")
    with pytest.raises(PeerError, match="answer of a: expected the survivors asked for"):
        collector.answer(case.unmask("a", elsewhere.request("a")))
    assert complete(case, collector, "abcd") == case.total_of("abcd")


def test_wrong_self_shares_are_named_and_the_rest_go_on(case: Rounds) -> None:
    collector = case.unmasking("abcd")
    wrong = flip(unpack(UnmaskAnswer, case.signed_answer(collector, "a")).self_shares, SHARE_BYTES + 5)
    assert complete(case, collector, "abcd", a={"self_shares": wrong}) == case.total_of("abcd")
    assert collector.faults == ["a gave a share of a secret of b that b did not commit to: one of the two is at fault"]


def test_a_wrong_pair_seed_is_named_and_rebuilt_from_shares(case: Rounds) -> None:
    collector = case.unmasking("abcd")
    assert complete(case, collector, "abcd", b={"pair_seeds": bytes(32)}) == case.total_of("abcd")
    assert collector.faults == ["b gave a wrong seed of its pair with e"]


def test_wrong_pair_shares_are_named_where_they_are_needed(case: Rounds) -> None:
    """d never answers, so s_de comes from shares; a lies about its share."""
    collector = case.unmasking("abcd")
    wrong = bytes(3 * SHARE_BYTES)
    with pytest.raises(OperatorError, match="a gave a share of a secret of d"):
        complete(case, collector, "abc", a={"pair_shares": wrong})
    collector.answer(case.unmask("d", collector.request("d")))
    assert case.read(collector.finish()) == case.total_of("abcd")


def test_too_many_liars_discard_the_round_and_are_all_named(case: Rounds) -> None:
    collector = case.unmasking("abcd")
    wrong = {"self_shares": bytes(4 * SHARE_BYTES)}
    with pytest.raises(OperatorError, match="expected 3 right shares, got 2"):
        complete(case, collector, "abcd", a=wrong, c=wrong)
    assert {fault[0] for fault in collector.faults} == {"a", "c"}


def test_a_dealer_who_committed_to_another_self_seed_is_named(case: Rounds) -> None:
    collector = case.collector("acd")
    collector.add(*case.signed("b", commitments=flip(case.message("b").commitments, 33)))
    with pytest.raises(OperatorError, match="b dealt shares of a secret it did not commit to"):
        case.finish(collector, "abcd")


def test_a_dealer_whose_share_commitments_are_another_rows_is_named(case: Rounds) -> None:
    """Every share that b dealt is then refused by its digest, so that no three right ones remain."""
    collector = case.collector("acd")
    collector.add(*case.signed("b", share_commitments=case.message("a").share_commitments))
    with pytest.raises(OperatorError, match="secret of b: expected 3 right shares, got 0"):
        case.finish(collector, "abcd")
    assert len(collector.faults) == 4
    assert all("secret of b" in fault for fault in collector.faults)


def test_who_confirms_and_does_not_answer_is_one_drop_out_more() -> None:
    """Active mode: d confirms and is gone; its self mask comes from the shares of the three others."""
    case = rounds_of(5, "active")
    collector = case.unmasking("abcd")
    assert complete(case, collector, "abc") == case.total_of("abcd")


def test_who_does_not_confirm_may_still_answer() -> None:
    case = rounds_of(5, "active")
    collector = case.collector("abcd")
    collector.close()
    case.settle(collector, "bcd")
    assert complete(case, collector, "abd") == case.total_of("abcd")
