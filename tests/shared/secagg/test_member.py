import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from shared.crypto.identity import verify
from shared.crypto.sealing import seal
from shared.errors import MisuseError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.joining import new_run_key
from shared.secagg.masks import Words, filled
from shared.secagg.member import Plain, RoundState, contribute, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    answer_parts,
    contribution_parts,
)
from shared.secagg.packing import Bits, packed_size
from shared.secagg.plan import SiteRules
from shared.secagg.rehearsal import Federation
from shared.secagg.sharing import SHARE_BYTES
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import ADVERSARIES, WIDTHS, Rounds, federation_of, flip, rounds_of

FEDERATION = federation_of(4)
A = FEDERATION.hospitals[0]
ONE = np.ones(1, "<u8")


@pytest.fixture(params=ADVERSARIES)
def case(request: pytest.FixtureRequest) -> Rounds:
    """Four sites, t = 3, and one count: `ONE`."""
    return rounds_of(4, request.param, counts=1)


def requested(case: Rounds, site: str = "a", survivors: str = "abc") -> UnmaskRequest:
    """What an honest coordinator asks of `site`; if not told otherwise, d is lost."""
    return unpack(UnmaskRequest, case.unmasking(survivors).request(site))


def answer(
    case: Rounds, request: UnmaskRequest, rules: SiteRules | None = None, state: RoundState | None = None
) -> UnmaskAnswer:
    data = unmask(state or case.members["a"].state, pack(request), identity=A.identity, rules=rules or SiteRules())
    return unpack(UnmaskAnswer, data)


def test_a_contribution_is_masked_and_signed_with_the_vector_beside_it(case: Rounds) -> None:
    words = np.arange(3, dtype=np.uint32)
    counts = ONE.copy()
    seat = FEDERATION.seat(case.plan, A)
    state, data, vector = contribute(seat, Plain(counts, filled(words)), run_key=A.run_key, identity=A.identity)
    message = unpack(Contribution, data)
    assert (counts.tolist(), words.tolist()) == ([1], [0, 1, 2])
    assert len(message.counts) == 8
    assert int.from_bytes(message.counts, "little") != 1
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


def test_the_signature_covers_every_bit_of_the_vector(case: Rounds) -> None:
    _, data, vector = case.members["a"]
    message = unpack(Contribution, data)
    for index in range(len(vector)):
        parts = contribution_parts(message, memoryview(flip(vector, index)))
        with pytest.raises(PeerError, match="signature"):
            verify(A.identity.public, message.signature, CONTRIBUTION_LABEL, *parts)


def test_the_signature_covers_every_bit_of_the_counts(case: Rounds) -> None:
    _, data, vector = case.members["a"]
    message = unpack(Contribution, data)
    number = int.from_bytes(message.counts, "little")
    for bit in range(64):
        changed = replace(message, counts=(number ^ 1 << bit).to_bytes(8, "little"))
        with pytest.raises(PeerError, match="signature"):
            verify(A.identity.public, message.signature, CONTRIBUTION_LABEL, *contribution_parts(changed, vector))


def test_the_signature_tells_counts_from_the_name_before_them(case: Rounds) -> None:
    """The same bytes in a row, cut elsewhere, are another message."""
    _, data, vector = case.members["a"]
    message = replace(unpack(Contribution, data), counts=b"bcounts")
    signature = A.identity.sign(CONTRIBUTION_LABEL, *contribution_parts(message, vector))
    cut = replace(message, site="ab", counts=b"counts")
    with pytest.raises(PeerError, match="signature"):
        verify(A.identity.public, signature, CONTRIBUTION_LABEL, *contribution_parts(cut, vector))


@pytest.mark.parametrize(
    ("counts", "got"),
    [
        (np.ones(2, "<u8"), "uint64 [2]"),
        (np.ones(4, "<u8"), "uint64 [4]"),
        (np.ones(0, "<u8"), "uint64 [0]"),
        (np.ones((3, 1), "<u8"), "uint64 [3, 1]"),
        (np.ones(3, "<i8"), "int64 [3]"),
        (np.ones(3, "<u4"), "uint32 [3]"),
        (np.ones(3, "<f8"), "float64 [3]"),
        (np.ones(3, ">u8"), ">u8 [3]"),
    ],
)
def test_counts_of_another_shape_or_type_are_a_bug(case: Rounds, counts: Any, got: str) -> None:
    """Before a word of the vector is asked for."""
    seat = FEDERATION.seat(replace(case.plan, counts=3), A)

    def fill(start: int, piece: Words) -> None:
        raise ValueError("was asked")

    with pytest.raises(MisuseError, match=re.escape(f"counts: expected uint64 [3], got {got}")):
        contribute(seat, Plain(counts, fill), run_key=A.run_key, identity=A.identity)


@pytest.mark.parametrize("counts", [1, 4])
def test_counts_alone_leave_an_empty_vector(case: Rounds, counts: int) -> None:
    plan = replace(case.plan, counts=counts, length=0)
    plain = Plain(np.ones(counts, "<u8"), filled(np.zeros(0, np.uint32)))
    masked = contribute(FEDERATION.seat(plan, A), plain, run_key=A.run_key, identity=A.identity)
    assert len(masked.vector) == 0
    assert len(unpack(Contribution, masked.contribution).counts) == 8 * counts


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_vector_takes_so_many_bits_a_word(bits: Bits) -> None:
    """And the fill gets pieces of the plan's own type, each word once."""
    plan = FEDERATION.plan(length=7, bits=bits)
    seen: list[tuple[int, int, str]] = []

    def fill(start: int, piece: Words) -> None:
        seen.append((start, piece.size, piece.dtype.name))
        piece[:] = 1

    masked = contribute(FEDERATION.seat(plan, A), Plain(ONE, fill), run_key=A.run_key, identity=A.identity)
    assert seen == [(0, 7, "uint32" if bits == 32 else "uint16")]
    assert len(masked.vector) == packed_size(7, bits) == -(-7 * bits // 8)


def test_what_the_fill_raises_stops_the_contribution(case: Rounds) -> None:
    def fill(start: int, piece: Words) -> None:
        raise ValueError("not a number")

    with pytest.raises(ValueError, match="not a number"):
        contribute(FEDERATION.seat(case.plan, A), Plain(ONE, fill), run_key=A.run_key, identity=A.identity)


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
                Plain(ONE, filled(words)),
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
        total = collector.finish(threads=threads)
        assert total.counts.tolist() == [2]
        assert np.array_equal(total.words, words + words)


def test_another_run_key_is_a_bug(case: Rounds) -> None:
    seat = FEDERATION.seat(case.plan, A)
    with pytest.raises(MisuseError, match="run key"):
        contribute(seat, Plain(ONE, filled(np.zeros(3, np.uint32))), run_key=new_run_key(), identity=A.identity)


def test_an_answer_holds_one_kind_of_secret_per_member(case: Rounds) -> None:
    """a, with survivors a, b, c: shares of b_a, b_b, b_c; s_ad; shares of s_bd and s_cd. Nothing else."""
    reply = answer(case, requested(case))
    assert len(reply.self_shares) == 3 * SHARE_BYTES
    assert reply.pair_seeds == case.members["a"].state.seeds[3]
    assert len(reply.pair_shares) == 2 * SHARE_BYTES
    verify(A.identity.public, reply.signature, ANSWER_LABEL, *answer_parts(reply))
    everything = pack(reply)
    assert not any(seed in everything for seed in case.members["a"].state.seeds[1:3])
    pair_shares = [case.members["a"].state.own_shares[k * SHARE_BYTES : (k + 1) * SHARE_BYTES] for k in (1, 2, 3)]
    assert not any(share in everything for share in pair_shares)


def test_without_drop_outs_no_pair_seed_leaves(case: Rounds) -> None:
    reply = answer(case, requested(case, survivors="abcd"))
    assert (reply.pair_seeds, reply.pair_shares) == (b"", b"")


Change = Callable[[Rounds], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda case: {"plan": bytes(32)}, "another"),
        (lambda case: {"site": "b"}, "another"),
        (lambda case: {"survivors": ("b", "c", "d")}, "a in them"),
        (lambda case: {"survivors": ("a", "b", "z")}, "members of the cohort"),
        (lambda case: {"survivors": ("a", "b", "b")}, "once"),
        (lambda case: {"survivors": ("b", "a", "c")}, "sorted"),
        (lambda case: {"survivors": ("a", "b"), "bundles": requested(case).bundles[:1]}, "at least 3 sites"),
        (lambda case: {"survivors": ()}, "a in them"),
        (lambda case: {"bundles": requested(case).bundles[:1]}, "2 bundles"),
        (lambda case: {"bundles": (*requested(case).bundles, requested(case).bundles[0])}, "2 bundles"),
        (lambda case: {"bundles": requested(case).bundles[::-1]}, "bundle from b to a"),
        (lambda case: {"bundles": (requested(case).bundles[0], bytes(160))}, "bundle from c to a"),
        (lambda case: {"bundles": requested(case, "b").bundles}, "bundle from b to a"),
        (lambda case: {"bundles": (b"", b"")}, "bundle from b to a"),
    ],
)
def test_a_hostile_request_is_refused(case: Rounds, change: Change, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        answer(case, replace(requested(case), **change(case)))


def test_bundles_of_another_survivor_set_are_refused(case: Rounds) -> None:
    """The set is in order and, in active mode, confirmed; c's bundle stands where d's should."""
    elsewhere = requested(case, survivors="abd")
    with pytest.raises(PeerError, match="bundle from d to a"):
        answer(case, replace(elsewhere, bundles=requested(case).bundles))


@pytest.mark.parametrize("bundle", [bytes(4 * SHARE_BYTES - 1), bytes(5 * SHARE_BYTES), b""])
def test_a_bundle_of_another_length_is_refused_though_rightly_sealed(case: Rounds, bundle: bytes) -> None:
    sealed = seal(case.members["a"].state.openers[1], bundle, case.plan.digest())
    with pytest.raises(PeerError, match="bundle from b to a: expected 132 bytes"):
        answer(case, replace(requested(case), bundles=(sealed, requested(case).bundles[1])))


@pytest.mark.parametrize(
    ("rules", "match"),
    [(SiteRules(min_survivors=4), "at least 4"), (SiteRules(named_peers=("d",)), "d in it")],
)
def test_a_site_may_demand_more_survivors(case: Rounds, rules: SiteRules, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        answer(case, requested(case), rules)
    assert answer(case, requested(case, survivors="abcd"), rules).site == "a"


def test_a_request_of_an_earlier_plan_is_refused_under_a_later_state(case: Rounds) -> None:
    later = replace(case.plan, round=2)
    state = FEDERATION.contribute(later, A, np.zeros(3, np.uint32)).state
    with pytest.raises(PeerError, match="another"):
        answer(case, requested(case), state=state)
    # renamed to the later plan, its confirmations or, without any, its bundles give it away
    match = "signature" if state.active else "bundle from b to a"
    with pytest.raises(PeerError, match=match):
        answer(case, replace(requested(case), plan=later.digest()), state=state)


def test_a_refused_request_leaves_the_state_good(case: Rounds) -> None:
    with pytest.raises(PeerError):
        answer(case, replace(requested(case), bundles=()))
    assert answer(case, requested(case)) == answer(case, requested(case))


def test_noise_and_wrong_types_do_not_decode(case: Rounds) -> None:
    request = requested(case)
    for data in (b"", b"\xc1", pack(request)[:-1], pack(answer(case, request)), b"\x81\xa4plan\x01"):
        with pytest.raises(PeerError, match="UnmaskRequest"):
            unmask(case.members["a"].state, data, identity=A.identity, rules=SiteRules())
