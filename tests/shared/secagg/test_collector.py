"""Steps 1 to 4 at the coordinator: what it takes, in which order, and that what it refuses changed nothing.

Wrong answers, shares and seeds are in test_rebuild.py, confirmations in test_confirm.py.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from msgspec.structs import replace

from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.member import Masked
from shared.secagg.messages import CONTRIBUTION_LABEL, Contribution, contribution_parts
from shared.secagg.plan import Plan
from shared.secagg.rehearsal import Federation
from shared.secagg.shelf import MemoryShelf
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import (
    Adversary,
    Rounds,
    contribution,
    edge_counts,
    edge_words,
    federation_of,
    flip,
    rounds_of,
)

SECOND_PHASE = {"active": "ask_confirm, confirm and settle", "semi-honest": "request, answer and finish"}


def sent_by_e(plan: Plan) -> Masked:
    """What e sends for `plan`, masked anew."""
    return contribution(plan, federation_of(5).hospitals[4], edge_counts(plan.counts, 4), edge_words(3, 32, 4))


def test_the_sum_is_exact_and_only_handed_over_once(case: Rounds) -> None:
    collector = case.unmasking("abcd")
    assert case.read(case.answer(collector, "abcd").finish()) == case.total_of("abcd")
    assert collector.faults == []
    with pytest.raises(MisuseError, match="nothing in this phase"):
        collector.finish()


def test_out_of_order_calls_are_bugs(case: Rounds) -> None:
    collector = case.collector("abcd")
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
    case.settle(collector, "abcd")
    for call in [*late, *early[:3]]:
        with pytest.raises(MisuseError, match="request, answer and finish"):
            call()
    with pytest.raises(MisuseError, match="survivor"):
        collector.request("e")
    assert case.read(case.answer(collector, "abcd").finish()) == case.total_of("abcd")
    for call in [*early, *late]:
        with pytest.raises(MisuseError, match="nothing in this phase"):
            call()


def test_what_was_handed_over_changes_with_no_other_sum(case: Rounds) -> None:
    """The total is the caller's own: arrays of this collector and no other."""
    one, two = (case.answer(case.unmasking("abcd"), "abcd").finish() for _ in range(2))
    one.counts[:], one.words[:] = 0, 0
    assert case.read(two) == case.total_of("abcd")
    assert all(part.flags.owndata and part.flags.writeable for part in two)


def test_counts_are_summed_mod_2_to_the_64(case: Rounds) -> None:
    """Four sites at each edge in turn, and the first count is how many they are."""
    for value in (0, 1, 2**48 - 1, 2**63, 2**64 - 1):
        counts = {name: np.array([1, value, 2**64 - 1 - value], "<u8") for name in "abcde"}
        rounds = Rounds.of(case.plan, counts=counts)
        found, _ = rounds.finish(rounds.collector("abcd"), "abcd")
        assert found == [4, 4 * value % 2**64, 4 * (2**64 - 1 - value) % 2**64]


def test_too_few_contributions_or_answers_wait_or_discard(case: Rounds) -> None:
    collector = case.collector("ab")
    with pytest.raises(OperatorError, match="at least 3 of 5 sites, got 2"):
        collector.close()
    case.add(collector, "c")
    collector.close()
    case.settle(collector, "abc")
    with pytest.raises(OperatorError, match="unmask answers: expected at least 3 of 5 sites, got 2"):
        case.answer(collector, "ab").finish()
    assert case.read(case.answer(collector, "c").finish()) == case.total_of("abc")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": bytes(32)}, "plan"),
        ({"site": "b"}, "signature"),
        ({"site": "z"}, "member of the cohort"),
        ({"vector": memoryview(bytes(8))}, "vector of e: expected 12 bytes"),
        ({"vector": memoryview(bytes(16))}, "vector of e"),
        ({"vector": memoryview(b"")}, "vector of e"),
        ({"counts": b""}, "counts of e: expected 24 bytes, got 0 bytes"),
        ({"counts": bytes(23)}, "counts of e: expected 24 bytes, got 23 bytes"),
        ({"counts": bytes(16)}, "counts of e"),
        ({"counts": bytes(32)}, "counts of e"),
        ({"bundles": ()}, "bundles of e"),
        ({"bundles": (bytes(193),) * 3 + (bytes(1),)}, "bundle of e"),
        ({"bundles": (bytes(193),) * 5}, "bundles of e"),
        ({"commitments": bytes(5 * 32 - 1)}, "commitments of e"),
        ({"share_commitments": b""}, "share commitments of e"),
        ({"commitments": bytes(5 * 32)}, "pair seed that a has"),
    ],
)
def test_a_hostile_contribution_changes_nothing(case: Rounds, change: dict[str, Any], match: str) -> None:
    collector = case.collector("acd")
    with pytest.raises(PeerError, match=match):
        collector.add(*case.signed("e", **change))
    case.add(collector, "b")
    assert case.finish(collector, "abcd") == case.total_of("abcd")


def test_a_tampered_or_repeated_contribution_changes_nothing(case: Rounds) -> None:
    collector = case.collector("abcd")
    _, data, vector = case.members["e"]
    for bad in (flip(data, len(data) // 2), flip(data, len(data) - 1), data[:-1], b"", case.members["a"].contribution):
        with pytest.raises(PeerError):
            collector.add(bad, vector)
    assert case.finish(collector, "abcd") == case.total_of("abcd")


def test_a_vector_that_its_site_did_not_sign_changes_nothing(case: Rounds) -> None:
    """It travels beside the contribution: a bit of it flipped, another site's, or one of an earlier sending."""
    collector = case.collector("abcd")
    data, vector = case.members["e"].contribution, case.members["e"].vector
    again = sent_by_e(case.plan)
    for bad in (memoryview(flip(vector, 0)), memoryview(flip(vector, 11)), case.members["a"].vector, again.vector):
        with pytest.raises(PeerError, match="signature"):
            collector.add(data, bad)
    assert case.finish(collector, "abcd") == case.total_of("abcd")


def test_counts_that_their_site_did_not_sign_change_nothing(case: Rounds) -> None:
    """Any byte of them changed, another site's, one of an earlier sending, or in another order."""
    collector, message = case.collector("abcd"), case.message("e")
    counts = message.counts
    others = [case.message("a").counts, unpack(Contribution, sent_by_e(case.plan).contribution).counts, bytes(24)]
    for bad in (*(flip(counts, index) for index in range(24)), counts[8:] + counts[:8], *others):
        with pytest.raises(PeerError, match="signature"):
            collector.add(pack(replace(message, counts=bad)), case.members["e"].vector)
    assert case.finish(collector, "abcd") == case.total_of("abcd")


def test_a_contribution_to_another_plan_is_refused(case: Rounds) -> None:
    other: Adversary = "semi-honest" if case.active else "active"
    for plan in (replace(case.plan, round=2), replace(case.plan, attempt=1), rounds_of(5, other).plan):
        _, data, vector = sent_by_e(plan)
        with pytest.raises(PeerError, match="plan"):
            case.collector("abcd").add(data, vector)


@pytest.mark.parametrize("change", [{"threshold": 2}, {"threshold": 6}, {"colluders": 1}])
def test_a_plan_that_no_site_would_answer_is_refused(case: Rounds, change: dict[str, int]) -> None:
    """At five sites and three to answer, two sets could each have three confirmations and share one colluder."""
    with pytest.raises(PeerError, match="threshold"):
        Collector(replace(case.plan, **change), federation_of(5).roster)


def test_a_masked_contribution_of_a_stranger_with_a_known_name_is_refused(case: Rounds) -> None:
    stranger, vector = Federation.of(5).hospitals[4], case.members["e"].vector
    parts = contribution_parts(case.message("e"), vector)
    forged = replace(case.message("e"), signature=stranger.identity.sign(CONTRIBUTION_LABEL, *parts))
    with pytest.raises(PeerError, match="signature"):
        case.collector("abcd").add(pack(forged), vector)


@pytest.mark.parametrize("bits", [10, 11, 13, 15])
def test_a_packed_vector_with_a_bit_past_its_last_word_changes_nothing(bits: Literal[10, 11, 13, 15]) -> None:
    """Three words of so many bits leave some of the last byte; its owner signed it so."""
    narrow = rounds_of(5, "semi-honest", bits=bits)
    collector = narrow.collector("abc")
    vector = bytearray(narrow.members["d"].vector)
    vector[-1] |= 0x80
    with pytest.raises(PeerError, match="zeros in the last"):
        collector.add(*narrow.signed("d", vector=memoryview(vector)))
    narrow.add(collector, "d")
    assert narrow.finish(collector, "abcd") == narrow.total_of("abcd")


def test_a_contribution_that_found_no_room_can_come_again(case: Rounds) -> None:
    """A full disk under the shelf: the sum must not hold counts or a vector whose bundles it could not keep."""

    class Full(MemoryShelf):
        full = False

        def put(self, number: int, data: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().put(number, data)

    shelf = Full()
    collector = case.collector("abc", shelf)
    shelf.full = True
    with pytest.raises(OSError, match="No space"):
        case.add(collector, "d")
    shelf.full = False
    case.add(collector, "d")
    assert case.finish(collector, "abcd") == case.total_of("abcd")
