from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from shared.crypto.identity import verify
from shared.crypto.sealing import seal
from shared.errors import MisuseError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.joining import new_run_key
from shared.secagg.masks import Words, filled
from shared.secagg.member import Masked, RoundState, contribute, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    answer_parts,
    contribution_parts,
)
from shared.secagg.packing import packed_size
from shared.secagg.plan import Plan, SiteRules
from shared.secagg.rehearsal import Federation
from shared.secagg.sharing import SHARE_BYTES
from shared.wire import pack, unpack

Adversary = Literal["active", "semi-honest"]
Bits = Literal[32, 16, 15, 14, 13, 12, 11, 10]

FEDERATION = Federation.of(4)
A, B, C, D = FEDERATION.hospitals


class Aggregate(NamedTuple):
    """A plan of four sites, what each sent, and what a is asked when d is lost."""

    plan: Plan
    rounds: dict[str, Masked]
    request: UnmaskRequest

    @property
    def state(self) -> RoundState:
        return self.rounds["a"].state


def requested(plan: Plan, rounds: dict[str, Masked], site: str = "a", survivors: str = "abc") -> UnmaskRequest:
    """What an honest coordinator asks of `site`."""
    collector = Collector(plan, FEDERATION.roster)
    for name in survivors:
        collector.add(rounds[name].contribution, rounds[name].vector)
    collector.close()
    FEDERATION.confirm(collector, {h: rounds[h.name].state for h in FEDERATION.hospitals if h.name in survivors})
    return unpack(UnmaskRequest, collector.request(site))


def aggregate(adversary: Adversary) -> Aggregate:
    plan = FEDERATION.plan(length=3, adversary=adversary)
    rounds = {h.name: FEDERATION.contribute(plan, h, np.zeros(3, np.uint32)) for h in FEDERATION.hospitals}
    return Aggregate(plan, rounds, requested(plan, rounds))


AGGREGATES = {adversary: aggregate(adversary) for adversary in ("active", "semi-honest")}


@pytest.fixture(params=["active", "semi-honest"])
def case(request: pytest.FixtureRequest) -> Aggregate:
    return AGGREGATES[request.param]


def answer(
    case: Aggregate, request: UnmaskRequest, rules: SiteRules | None = None, state: RoundState | None = None
) -> UnmaskAnswer:
    data = unmask(state or case.state, pack(request), identity=A.identity, rules=rules or SiteRules())
    return unpack(UnmaskAnswer, data)


def test_a_contribution_is_masked_and_signed_with_the_vector_beside_it(case: Aggregate) -> None:
    words = np.arange(3, dtype=np.uint32)
    seat = FEDERATION.seat(case.plan, A)
    state, data, vector = contribute(seat, filled(words), run_key=A.run_key, identity=A.identity)
    message = unpack(Contribution, data)
    assert words.tolist() == [0, 1, 2]
    assert len(vector) == 12
    assert np.frombuffer(vector, "<u4").tolist() != [0, 1, 2]
    assert bytes(vector) not in data
    verify(A.identity.public, message.signature, CONTRIBUTION_LABEL, *contribution_parts(message, vector))
    assert (message.plan, message.site) == (case.plan.digest(), "a")
    assert [len(bundle) for bundle in message.bundles] == [4 * SHARE_BYTES + 28] * 3
    assert unpack(RoundState, pack(state)) == state
    assert repr(state) == "RoundState(...)"
    assert state.active == (case.plan.adversary == "active")
    assert state.identities == tuple(h.identity.public for h in FEDERATION.hospitals)


def test_the_signature_covers_every_bit_of_the_vector(case: Aggregate) -> None:
    _, data, vector = case.rounds["a"]
    message = unpack(Contribution, data)
    for index in range(len(vector)):
        changed = bytearray(vector)
        changed[index] ^= 1
        with pytest.raises(PeerError, match="signature"):
            parts = contribution_parts(message, memoryview(changed))
            verify(A.identity.public, message.signature, CONTRIBUTION_LABEL, *parts)


@pytest.mark.parametrize("bits", [32, 16, 15, 14, 13, 12, 11, 10])
def test_a_vector_takes_so_many_bits_a_word(bits: Bits) -> None:
    """And the fill gets pieces of the plan's own type, each word once."""
    plan = FEDERATION.plan(length=7, bits=bits)
    seen: list[tuple[int, int, str]] = []

    def fill(start: int, piece: Words) -> None:
        seen.append((start, piece.size, piece.dtype.name))
        piece[:] = 1

    masked = contribute(FEDERATION.seat(plan, A), fill, run_key=A.run_key, identity=A.identity)
    assert seen == [(0, 7, "uint32" if bits == 32 else "uint16")]
    assert len(masked.vector) == packed_size(7, bits) == -(-7 * bits // 8)


def test_what_the_fill_raises_stops_the_contribution(case: Aggregate) -> None:
    def fill(start: int, piece: Words) -> None:
        raise ValueError("not a number")

    with pytest.raises(ValueError, match="not a number"):
        contribute(FEDERATION.seat(case.plan, A), fill, run_key=A.run_key, identity=A.identity)


def test_the_number_of_threads_changes_nothing_but_the_self_mask() -> None:
    """Two contributions differ by their self masks; the sums with either are the same."""
    federation = Federation.of(2)
    plan = federation.plan(length=200_000, bits=16)
    words = np.arange(200_000).astype(np.uint16)
    a, b = federation.hospitals
    for threads in (1, 3):
        collector = Collector(plan, federation.roster)
        states = {}
        for hospital in (a, b):
            masked = contribute(
                federation.seat(plan, hospital),
                filled(words),
                run_key=hospital.run_key,
                identity=hospital.identity,
                threads=threads,
            )
            collector.add(masked.contribution, masked.vector)
            states[hospital] = masked.state
        collector.close()
        federation.confirm(collector, states)
        for hospital, state in states.items():
            request = collector.request(hospital.name)
            collector.answer(unmask(state, request, identity=hospital.identity, rules=SiteRules()))
        assert np.array_equal(collector.finish(threads=threads), words + words)


def test_another_run_key_is_a_bug(case: Aggregate) -> None:
    seat = FEDERATION.seat(case.plan, A)
    with pytest.raises(MisuseError, match="run key"):
        contribute(seat, filled(np.zeros(3, np.uint32)), run_key=new_run_key(), identity=A.identity)


def test_an_answer_holds_one_kind_of_secret_per_member(case: Aggregate) -> None:
    """a, with survivors a, b, c: shares of b_a, b_b, b_c; s_ad; shares of s_bd and s_cd. Nothing else."""
    reply = answer(case, case.request)
    assert len(reply.self_shares) == 3 * SHARE_BYTES
    assert reply.pair_seeds == case.state.seeds[3]
    assert len(reply.pair_shares) == 2 * SHARE_BYTES
    verify(A.identity.public, reply.signature, ANSWER_LABEL, *answer_parts(reply))
    everything = pack(reply)
    assert not any(seed in everything for seed in case.state.seeds[1:3])
    pair_shares = [case.state.own_shares[k * SHARE_BYTES : (k + 1) * SHARE_BYTES] for k in (1, 2, 3)]
    assert not any(share in everything for share in pair_shares)


def test_without_drop_outs_no_pair_seed_leaves(case: Aggregate) -> None:
    reply = answer(case, requested(case.plan, case.rounds, survivors="abcd"))
    assert (reply.pair_seeds, reply.pair_shares) == (b"", b"")


Change = Callable[[Aggregate], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda case: {"plan": bytes(32)}, "another"),
        (lambda case: {"site": "b"}, "another"),
        (lambda case: {"survivors": ("b", "c", "d")}, "a in them"),
        (lambda case: {"survivors": ("a", "b", "z")}, "members of the cohort"),
        (lambda case: {"survivors": ("a", "b", "b")}, "once"),
        (lambda case: {"survivors": ("b", "a", "c")}, "sorted"),
        (lambda case: {"survivors": ("a", "b"), "bundles": case.request.bundles[:1]}, "at least 3 sites"),
        (lambda case: {"survivors": ()}, "a in them"),
        (lambda case: {"bundles": case.request.bundles[:1]}, "2 bundles"),
        (lambda case: {"bundles": (*case.request.bundles, case.request.bundles[0])}, "2 bundles"),
        (lambda case: {"bundles": case.request.bundles[::-1]}, "bundle from b to a"),
        (lambda case: {"bundles": (case.request.bundles[0], bytes(160))}, "bundle from c to a"),
        (lambda case: {"bundles": requested(case.plan, case.rounds, "b").bundles}, "bundle from b to a"),
        (lambda case: {"bundles": (b"", b"")}, "bundle from b to a"),
    ],
)
def test_a_hostile_request_is_refused(case: Aggregate, change: Change, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        answer(case, replace(case.request, **change(case)))


def test_bundles_of_another_survivor_set_are_refused(case: Aggregate) -> None:
    """The set is in order and, in active mode, confirmed; c's bundle stands where d's should."""
    elsewhere = requested(case.plan, case.rounds, survivors="abd")
    with pytest.raises(PeerError, match="bundle from d to a"):
        answer(case, replace(elsewhere, bundles=case.request.bundles))


@pytest.mark.parametrize("bundle", [bytes(4 * SHARE_BYTES - 1), bytes(5 * SHARE_BYTES), b""])
def test_a_bundle_of_another_length_is_refused_though_rightly_sealed(case: Aggregate, bundle: bytes) -> None:
    sealed = seal(case.state.openers[1], bundle, case.plan.digest())
    with pytest.raises(PeerError, match="bundle from b to a: expected 132 bytes"):
        answer(case, replace(case.request, bundles=(sealed, case.request.bundles[1])))


@pytest.mark.parametrize(
    ("rules", "match"),
    [(SiteRules(min_survivors=4), "at least 4"), (SiteRules(named_peers=("d",)), "d in it")],
)
def test_a_site_may_demand_more_survivors(case: Aggregate, rules: SiteRules, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        answer(case, case.request, rules)
    assert answer(case, requested(case.plan, case.rounds, survivors="abcd"), rules).site == "a"


def test_a_request_of_an_earlier_plan_is_refused_under_a_later_state(case: Aggregate) -> None:
    later = replace(case.plan, round=2)
    state = FEDERATION.contribute(later, A, np.zeros(3, np.uint32)).state
    with pytest.raises(PeerError, match="another"):
        answer(case, case.request, state=state)
    # renamed to the later plan, its confirmations or, without any, its bundles give it away
    match = "signature" if state.active else "bundle from b to a"
    with pytest.raises(PeerError, match=match):
        answer(case, replace(case.request, plan=later.digest()), state=state)


def test_a_refused_request_leaves_the_state_good(case: Aggregate) -> None:
    with pytest.raises(PeerError):
        answer(case, replace(case.request, bundles=()))
    assert answer(case, case.request) == answer(case, case.request)


def test_noise_and_wrong_types_do_not_decode(case: Aggregate) -> None:
    request = case.request
    for data in (b"", b"\xc1", pack(request)[:-1], pack(answer(case, request)), b"\x81\xa4plan\x01"):
        with pytest.raises(PeerError, match="UnmaskRequest"):
            unmask(case.state, data, identity=A.identity, rules=SiteRules())
