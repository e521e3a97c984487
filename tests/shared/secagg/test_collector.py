from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from msgspec.structs import replace

from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.member import Masked, confirm, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    answer_parts,
    contribution_parts,
)
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation
from shared.secagg.sharing import SHARE_BYTES
from shared.secagg.shelf import MemoryShelf
from shared.wire import pack, unpack

Adversary = Literal["active", "semi-honest"]

FEDERATION = Federation.of(5)
BY_NAME = {hospital.name: hospital for hospital in FEDERATION.hospitals}
VECTORS = {name: np.array([1, 10**k, 2**32 - 1], np.uint32) for k, name in enumerate("abcde")}
ABCD = [int(value) for value in np.stack([VECTORS[name] for name in "abcd"]).sum(axis=0, dtype=np.uint32)]
SECOND_PHASE = {"active": "ask_confirm, confirm and settle", "semi-honest": "request, answer and finish"}


@dataclass(frozen=True)
class Aggregate:
    """A plan, and what each of its five sites sent."""

    plan: Plan
    rounds: dict[str, Masked]

    @classmethod
    def of(cls, adversary: Adversary) -> "Aggregate":
        plan = FEDERATION.plan(length=3, adversary=adversary)
        return cls(plan, {name: FEDERATION.contribute(plan, BY_NAME[name], VECTORS[name]) for name in "abcde"})

    def add(self, collector: Collector, name: str) -> str:
        return collector.add(self.rounds[name].contribution, self.rounds[name].vector)

    def collecting(self, names: str = "abcd") -> Collector:
        collector = Collector(self.plan, FEDERATION.roster)
        for name in names:
            assert self.add(collector, name) == name
        return collector

    def unmasking(self, names: str = "abcd") -> Collector:
        collector = self.collecting(names)
        assert collector.close() == tuple(names)
        self.confirmed(collector, names)
        return collector

    def confirmed(self, collector: Collector, names: str) -> None:
        FEDERATION.confirm(collector, {BY_NAME[name]: self.rounds[name].state for name in names})

    def message(self, name: str) -> Contribution:
        return unpack(Contribution, self.rounds[name].contribution)

    def signed(self, name: str, vector: memoryview | None = None, **change: Any) -> tuple[bytes, memoryview]:
        """What a hostile but rightful `name` sends."""
        message = replace(self.message(name), **change)
        vector = self.rounds[name].vector if vector is None else vector
        signature = BY_NAME[name].identity.sign(CONTRIBUTION_LABEL, *contribution_parts(message, vector))
        return pack(replace(message, signature=signature)), vector

    def answer_of(self, collector: Collector, name: str) -> UnmaskAnswer:
        request, state = collector.request(name), self.rounds[name].state
        return unpack(UnmaskAnswer, unmask(state, request, identity=BY_NAME[name].identity, rules=SiteRules()))

    def signed_answer(self, collector: Collector, name: str, **change: Any) -> bytes:
        message = replace(self.answer_of(collector, name), **change)
        return pack(replace(message, signature=BY_NAME[name].identity.sign(ANSWER_LABEL, *answer_parts(message))))

    def complete(self, collector: Collector, names: str, **lies: dict[str, Any]) -> list[int]:
        """Answers of `names`, each with its lies, then the sum."""
        for name in names:
            assert collector.answer(self.signed_answer(collector, name, **lies.get(name, {}))) == name
        return [int(value) for value in collector.finish()]

    def finish(self, collector: Collector, names: str = "abcd") -> list[int]:
        """Everything after the last contribution, honestly."""
        collector.close()
        self.confirmed(collector, names)
        return self.complete(collector, names)


AGGREGATES = {adversary: Aggregate.of(adversary) for adversary in ("active", "semi-honest")}


@pytest.fixture(params=["active", "semi-honest"])
def case(request: pytest.FixtureRequest) -> Aggregate:
    return AGGREGATES[request.param]


def flip(data: bytes | memoryview, index: int) -> bytes:
    data = bytes(data)
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def test_the_sum_is_exact_and_only_handed_over_once(case: Aggregate) -> None:
    collector = case.unmasking()
    assert case.complete(collector, "abcd") == ABCD
    assert collector.faults == []
    with pytest.raises(MisuseError, match="nothing in this phase"):
        collector.finish()


def test_out_of_order_calls_are_bugs(case: Aggregate) -> None:
    collector = case.collecting()
    early: list[Callable[[], object]] = [
        lambda: collector.ask_confirm("a"),
        lambda: collector.confirm(b""),
        collector.settle,
        lambda: collector.request("a"),
        lambda: collector.answer(b""),
        collector.finish,
    ]
    for call in early:
        with pytest.raises(MisuseError, match="add in this phase"):
            call()
    collector.close()
    late: list[Callable[[], object]] = [lambda: case.add(collector, "e"), collector.close]
    for call in late:
        with pytest.raises(MisuseError, match=SECOND_PHASE[case.plan.adversary]):
            call()
    case.confirmed(collector, "abcd")
    for call in [*late, *early[:3]]:
        with pytest.raises(MisuseError, match="request, answer and finish"):
            call()
    with pytest.raises(MisuseError, match="survivor"):
        collector.request("e")
    assert case.complete(collector, "abcd") == ABCD
    for call in [*early, *late]:
        with pytest.raises(MisuseError, match="nothing in this phase"):
            call()


def test_too_few_contributions_or_answers_wait_or_discard(case: Aggregate) -> None:
    collector = case.collecting("ab")
    with pytest.raises(OperatorError, match="at least 3 of 5 sites, got 2"):
        collector.close()
    case.add(collector, "c")
    collector.close()
    case.confirmed(collector, "abc")
    with pytest.raises(OperatorError, match="unmask answers: expected at least 3 of 5 sites, got 2"):
        case.complete(collector, "ab")
    collector.answer(pack(case.answer_of(collector, "c")))
    assert int(collector.finish()[0]) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": bytes(32)}, "plan"),
        ({"site": "b"}, "signature"),
        ({"site": "z"}, "member of the cohort"),
        ({"vector": memoryview(bytes(8))}, "vector of e: expected 12 bytes"),
        ({"vector": memoryview(bytes(16))}, "vector of e"),
        ({"vector": memoryview(b"")}, "vector of e"),
        ({"bundles": ()}, "bundles of e"),
        ({"bundles": (bytes(193),) * 3 + (bytes(1),)}, "bundle of e"),
        ({"bundles": (bytes(193),) * 5}, "bundles of e"),
        ({"commitments": bytes(5 * 32 - 1)}, "commitments of e"),
        ({"share_commitments": b""}, "share commitments of e"),
        ({"commitments": bytes(5 * 32)}, "pair seed that a has"),
    ],
)
def test_a_hostile_contribution_changes_nothing(case: Aggregate, change: dict[str, Any], match: str) -> None:
    collector = case.collecting("acd")
    with pytest.raises(PeerError, match=match):
        collector.add(*case.signed("e", **change))
    case.add(collector, "b")
    assert case.finish(collector) == ABCD


def test_a_tampered_or_repeated_contribution_changes_nothing(case: Aggregate) -> None:
    collector = case.collecting()
    _, data, vector = case.rounds["e"]
    for bad in (flip(data, len(data) // 2), flip(data, len(data) - 1), data[:-1], b"", case.rounds["a"].contribution):
        with pytest.raises(PeerError):
            collector.add(bad, vector)
    assert case.finish(collector) == ABCD


def test_a_vector_that_its_site_did_not_sign_changes_nothing(case: Aggregate) -> None:
    """It travels beside the contribution: a bit of it flipped, another site's, or one of an earlier sending."""
    collector = case.collecting()
    data, vector = case.rounds["e"].contribution, case.rounds["e"].vector
    again = FEDERATION.contribute(case.plan, BY_NAME["e"], VECTORS["e"])
    for bad in (memoryview(flip(vector, 0)), memoryview(flip(vector, 11)), case.rounds["a"].vector, again.vector):
        with pytest.raises(PeerError, match="signature"):
            collector.add(data, bad)
    assert case.finish(collector) == ABCD


def test_a_contribution_to_another_plan_is_refused(case: Aggregate) -> None:
    other: Adversary = "active" if case.plan.adversary == "semi-honest" else "semi-honest"
    for plan in (replace(case.plan, round=2), replace(case.plan, attempt=1), AGGREGATES[other].plan):
        _, data, vector = FEDERATION.contribute(plan, BY_NAME["e"], VECTORS["e"])
        with pytest.raises(PeerError, match="plan"):
            case.collecting().add(data, vector)


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
def test_a_hostile_answer_changes_nothing(case: Aggregate, change: dict[str, Any], match: str) -> None:
    collector = case.unmasking()
    with pytest.raises(PeerError, match=match):
        collector.answer(case.signed_answer(collector, "a", **change))
    assert case.complete(collector, "abcd") == ABCD


def test_a_second_answer_is_refused(case: Aggregate) -> None:
    collector = case.unmasking()
    data = pack(case.answer_of(collector, "a"))
    collector.answer(data)
    with pytest.raises(PeerError, match="a second"):
        collector.answer(data)


def test_an_unsigned_answer_is_refused(case: Aggregate) -> None:
    collector = case.unmasking()
    with pytest.raises(PeerError, match="signature"):
        collector.answer(pack(replace(case.answer_of(collector, "a"), signature=bytes(64))))


def test_an_answer_of_another_survivor_set_is_refused(case: Aggregate) -> None:
    """Rightly signed, for the same plan, and of the same length: a, b, c, d against a, b, c, e."""
    elsewhere = case.unmasking("abce")
    collector = case.unmasking("abcd")
    with pytest.raises(PeerError, match="answer of a: expected the survivors asked for"):
        collector.answer(pack(case.answer_of(elsewhere, "a")))
    assert case.complete(collector, "abcd") == ABCD


def test_wrong_self_shares_are_named_and_the_rest_go_on(case: Aggregate) -> None:
    collector = case.unmasking()
    wrong = flip(case.answer_of(collector, "a").self_shares, SHARE_BYTES + 5)
    assert case.complete(collector, "abcd", a={"self_shares": wrong}) == ABCD
    assert collector.faults == ["a gave a share of a secret of b that b did not commit to: one of the two is at fault"]


def test_a_wrong_pair_seed_is_named_and_rebuilt_from_shares(case: Aggregate) -> None:
    collector = case.unmasking()
    assert case.complete(collector, "abcd", b={"pair_seeds": bytes(32)}) == ABCD
    assert collector.faults == ["b gave a wrong seed of its pair with e"]


def test_wrong_pair_shares_are_named_where_they_are_needed(case: Aggregate) -> None:
    """d never answers, so s_de comes from shares; a lies about its share."""
    collector = case.unmasking()
    wrong = bytes(3 * SHARE_BYTES)
    with pytest.raises(OperatorError, match="a gave a share of a secret of d"):
        case.complete(collector, "abc", a={"pair_shares": wrong})
    collector.answer(pack(case.answer_of(collector, "d")))
    assert [int(value) for value in collector.finish()] == ABCD


def test_too_many_liars_discard_the_round_and_are_all_named(case: Aggregate) -> None:
    collector = case.unmasking()
    wrong = {"self_shares": bytes(4 * SHARE_BYTES)}
    with pytest.raises(OperatorError, match="expected 3 right shares, got 2"):
        case.complete(collector, "abcd", a=wrong, c=wrong)
    assert {fault[0] for fault in collector.faults} == {"a", "c"}


def test_a_dealer_who_committed_to_another_self_seed_is_named(case: Aggregate) -> None:
    collector = case.collecting("acd")
    collector.add(*case.signed("b", commitments=flip(case.message("b").commitments, 33)))
    with pytest.raises(OperatorError, match="b dealt shares of a secret it did not commit to"):
        case.finish(collector)


def test_a_dealer_whose_share_commitments_are_another_rows_is_named(case: Aggregate) -> None:
    """Every share that b dealt is then refused by its digest, so that no three right ones remain."""
    collector = case.collecting("acd")
    collector.add(*case.signed("b", share_commitments=case.message("a").share_commitments))
    with pytest.raises(OperatorError, match="secret of b: expected 3 right shares, got 0"):
        case.finish(collector)
    assert len(collector.faults) == 4
    assert all("secret of b" in fault for fault in collector.faults)


@pytest.mark.parametrize("change", [{"threshold": 2}, {"threshold": 6}, {"colluders": 1}])
def test_a_plan_that_no_site_would_answer_is_refused(case: Aggregate, change: dict[str, int]) -> None:
    """At five sites and three to answer, two sets could each have three confirmations and share one colluder."""
    with pytest.raises(PeerError, match="threshold"):
        Collector(replace(case.plan, **change), FEDERATION.roster)


def test_a_masked_contribution_of_a_stranger_with_a_known_name_is_refused(case: Aggregate) -> None:
    stranger, vector = Federation.of(5).hospitals[4], case.rounds["e"].vector
    parts = contribution_parts(case.message("e"), vector)
    forged = replace(case.message("e"), signature=stranger.identity.sign(CONTRIBUTION_LABEL, *parts))
    with pytest.raises(PeerError, match="signature"):
        case.collecting().add(pack(forged), vector)


@pytest.mark.parametrize("bits", [10, 11, 13, 15])
def test_a_packed_vector_with_a_bit_past_its_last_word_changes_nothing(bits: Literal[10, 11, 13, 15]) -> None:
    """Three words of so many bits leave some of the last byte; its owner signed it so."""
    plan = replace(AGGREGATES["semi-honest"].plan, bits=bits)
    words = {name: np.array([k, 2**bits - 1, 2 ** (bits - 1)], np.uint16) for k, name in enumerate("abcde")}
    narrow = Aggregate(plan, {name: FEDERATION.contribute(plan, BY_NAME[name], words[name]) for name in "abcde"})
    collector = narrow.collecting("abc")
    vector = bytearray(narrow.rounds["d"].vector)
    vector[-1] |= 0x80
    with pytest.raises(PeerError, match="zeros in the last"):
        collector.add(*narrow.signed("d", vector=memoryview(vector)))
    narrow.add(collector, "d")
    total = np.array(narrow.finish(collector)) % 2**bits
    assert total.tolist() == [(0 + 1 + 2 + 3) % 2**bits, -4 % 2**bits, 0]


def test_a_contribution_that_found_no_room_can_come_again(case: Aggregate) -> None:
    """A full disk under the shelf: the sum must not hold a vector whose bundles it could not keep."""

    class Full(MemoryShelf):
        full = False

        def put(self, number: int, data: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().put(number, data)

    shelf = Full()
    collector = Collector(case.plan, FEDERATION.roster, shelf)
    for name in "abc":
        case.add(collector, name)
    shelf.full = True
    with pytest.raises(OSError, match="No space"):
        case.add(collector, "d")
    shelf.full = False
    case.add(collector, "d")
    assert case.finish(collector) == ABCD


def test_who_confirms_and_does_not_answer_is_one_drop_out_more() -> None:
    """Active mode: d confirms and is gone; its self mask comes from the shares of the three others."""
    case = AGGREGATES["active"]
    collector = case.unmasking()
    assert case.complete(collector, "abc") == ABCD


def test_who_does_not_confirm_may_still_answer() -> None:
    case = AGGREGATES["active"]
    collector = case.collecting()
    collector.close()
    for name in "bcd":
        request, state = collector.ask_confirm(name), case.rounds[name].state
        collector.confirm(confirm(state, request, identity=BY_NAME[name].identity, rules=SiteRules()))
    collector.settle()
    assert case.complete(collector, "abd") == ABCD
