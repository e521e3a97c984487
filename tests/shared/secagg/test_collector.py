from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.member import unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    answer_parts,
    contribution_parts,
)
from shared.secagg.plan import SiteRules
from shared.secagg.rehearsal import Federation, Hospital
from shared.secagg.sharing import SHARE_BYTES
from shared.wire import pack, unpack

FEDERATION = Federation.of(5)
PLAN = FEDERATION.plan(length=3)
BY_NAME = {hospital.name: hospital for hospital in FEDERATION.hospitals}
VECTORS = {name: np.array([1, 10**k, 2**32 - 1], np.uint32) for k, name in enumerate("abcde")}
ROUNDS = {name: FEDERATION.contribute(PLAN, BY_NAME[name], VECTORS[name]) for name in "abcde"}


def collecting(names: str = "abcd") -> Collector:
    collector = Collector(PLAN, FEDERATION.roster)
    for name in names:
        assert collector.add(ROUNDS[name][1]) == name
    return collector


def unmasking(names: str = "abcd") -> Collector:
    collector = collecting(names)
    assert collector.close() == tuple(names)
    return collector


def answer_of(collector: Collector, name: str) -> UnmaskAnswer:
    request = collector.request(name)
    data = unmask(ROUNDS[name][0], request, identity=BY_NAME[name].identity, rules=SiteRules())
    return unpack(UnmaskAnswer, data)


def signed_contribution(name: str, **change: Any) -> bytes:
    """What a hostile but rightful `name` sends."""
    message = replace(unpack(Contribution, ROUNDS[name][1]), **change)
    identity = BY_NAME[name].identity
    return pack(replace(message, signature=identity.sign(CONTRIBUTION_LABEL, *contribution_parts(message))))


def signed_answer(collector: Collector, name: str, **change: Any) -> bytes:
    message = replace(answer_of(collector, name), **change)
    return pack(replace(message, signature=BY_NAME[name].identity.sign(ANSWER_LABEL, *answer_parts(message))))


def flip(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def complete(collector: Collector, names: str, **lies: dict[str, Any]) -> list[int]:
    """Answers of `names`, each with its lies, then the sum."""
    for name in names:
        collector.answer(signed_answer(collector, name, **lies.get(name, {})))
    return [int(value) for value in collector.finish()]


ABCD = [int(value) for value in np.stack([VECTORS[name] for name in "abcd"]).sum(axis=0, dtype=np.uint32)]


def test_the_sum_is_exact_and_only_handed_over_once() -> None:
    collector = unmasking()
    assert complete(collector, "abcd") == ABCD
    assert collector.faults == []
    with pytest.raises(MisuseError, match="nothing in this phase"):
        collector.finish()


def test_out_of_order_calls_are_bugs() -> None:
    collector = collecting()
    for early in (lambda: collector.request("a"), lambda: collector.answer(b""), collector.finish):
        with pytest.raises(MisuseError, match="add in this phase"):
            early()
    collector.close()
    for late in (lambda: collector.add(ROUNDS["e"][1]), collector.close):
        with pytest.raises(MisuseError, match="request, answer and finish"):
            late()
    with pytest.raises(MisuseError, match="survivor"):
        collector.request("e")


def test_too_few_contributions_or_answers_wait_or_discard() -> None:
    collector = collecting("ab")
    with pytest.raises(OperatorError, match="at least 3 of 5 sites, got 2"):
        collector.close()
    collector.add(ROUNDS["c"][1])
    collector.close()
    with pytest.raises(OperatorError, match="got 2"):
        complete(collector, "ab")
    collector.answer(pack(answer_of(collector, "c")))
    assert int(collector.finish()[0]) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": bytes(32)}, "plan"),
        ({"site": "b"}, "signature"),
        ({"site": "z"}, "member of the cohort"),
        ({"vector": memoryview(bytes(8))}, "vector of e: expected 12 bytes"),
        ({"vector": memoryview(bytes(16))}, "vector of e"),
        ({"bundles": ()}, "bundles of e"),
        ({"bundles": (bytes(193),) * 3 + (bytes(1),)}, "bundle of e"),
        ({"commitments": bytes(5 * 32 - 1)}, "commitments of e"),
        ({"share_commitments": b""}, "share commitments of e"),
        ({"commitments": bytes(5 * 32)}, "pair seed that a has"),
    ],
)
def test_a_hostile_contribution_changes_nothing(change: dict[str, Any], match: str) -> None:
    collector = collecting("acd")
    with pytest.raises(PeerError, match=match):
        collector.add(signed_contribution("e", **change))
    collector.add(ROUNDS["b"][1])
    collector.close()
    assert complete(collector, "abcd") == ABCD


def test_a_tampered_or_repeated_contribution_changes_nothing() -> None:
    collector = collecting()
    data = ROUNDS["e"][1]
    start = data.index(b"vector") + len(b"vector") + 2
    for bad in (flip(data, start), flip(data, len(data) - 1), data[:-1], b"", ROUNDS["a"][1]):
        with pytest.raises(PeerError):
            collector.add(bad)
    collector.close()
    assert complete(collector, "abcd") == ABCD


def test_a_contribution_to_another_plan_is_refused() -> None:
    _, data = FEDERATION.contribute(FEDERATION.plan(length=3, round=2), BY_NAME["e"], VECTORS["e"])
    with pytest.raises(PeerError, match="plan"):
        collecting().add(data)


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
def test_a_hostile_answer_changes_nothing(change: dict[str, Any], match: str) -> None:
    collector = unmasking()
    with pytest.raises(PeerError, match=match):
        collector.answer(signed_answer(collector, "a", **change))
    assert complete(collector, "abcd") == ABCD


def test_a_second_answer_is_refused() -> None:
    collector = unmasking()
    data = pack(answer_of(collector, "a"))
    collector.answer(data)
    with pytest.raises(PeerError, match="a second"):
        collector.answer(data)


def test_an_unsigned_answer_is_refused() -> None:
    collector = unmasking()
    with pytest.raises(PeerError, match="signature"):
        collector.answer(pack(replace(answer_of(collector, "a"), signature=bytes(64))))


def test_wrong_self_shares_are_named_and_the_rest_go_on() -> None:
    collector = unmasking()
    wrong = flip(answer_of(collector, "a").self_shares, SHARE_BYTES + 5)
    assert complete(collector, "abcd", a={"self_shares": wrong}) == ABCD
    assert collector.faults == ["a gave a share of a secret of b that b did not commit to: one of the two is at fault"]


def test_a_wrong_pair_seed_is_named_and_rebuilt_from_shares() -> None:
    collector = unmasking()
    assert complete(collector, "abcd", b={"pair_seeds": bytes(32)}) == ABCD
    assert collector.faults == ["b gave a wrong seed of its pair with e"]


def test_wrong_pair_shares_are_named_where_they_are_needed() -> None:
    """d never answers, so s_de comes from shares; a lies about its share."""
    collector = unmasking()
    wrong = bytes(3 * SHARE_BYTES)
    with pytest.raises(OperatorError, match="a gave a share of a secret of d"):
        complete(collector, "abc", a={"pair_shares": wrong})
    collector.answer(pack(answer_of(collector, "d")))
    assert [int(value) for value in collector.finish()] == ABCD


def test_too_many_liars_discard_the_round_and_are_all_named() -> None:
    collector = unmasking()
    wrong = {"self_shares": bytes(4 * SHARE_BYTES)}
    with pytest.raises(OperatorError, match="expected 3 right shares, got 2"):
        complete(collector, "abcd", a=wrong, c=wrong)
    assert {fault[0] for fault in collector.faults} == {"a", "c"}


def test_a_dealer_who_committed_to_another_self_seed_is_named() -> None:
    message = unpack(Contribution, ROUNDS["b"][1])
    collector = collecting("acd")
    collector.add(signed_contribution("b", commitments=flip(message.commitments, 33)))
    collector.close()
    with pytest.raises(OperatorError, match="b dealt shares of a secret it did not commit to"):
        complete(collector, "abcd")


def test_a_plan_that_no_site_would_answer_is_refused() -> None:
    with pytest.raises(PeerError, match="threshold"):
        Collector(replace(PLAN, threshold=2), FEDERATION.roster)


def test_a_masked_contribution_of_a_stranger_with_a_known_name_is_refused() -> None:
    stranger: Hospital = Federation.of(5).hospitals[4]
    message = unpack(Contribution, ROUNDS["e"][1])
    forged = replace(message, signature=stranger.identity.sign(CONTRIBUTION_LABEL, *contribution_parts(message)))
    with pytest.raises(PeerError, match="signature"):
        collecting().add(pack(forged))
