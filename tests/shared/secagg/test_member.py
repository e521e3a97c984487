from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from shared.crypto.identity import verify
from shared.errors import MisuseError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.joining import new_run_key
from shared.secagg.member import RoundState, contribute, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONTRIBUTION_LABEL,
    Contribution,
    UnmaskAnswer,
    UnmaskRequest,
    answer_parts,
    contribution_parts,
)
from shared.secagg.plan import SiteRules
from shared.secagg.rehearsal import Federation
from shared.secagg.sharing import SHARE_BYTES
from shared.wire import pack, unpack

FEDERATION = Federation.of(4)
A, B, C, D = FEDERATION.hospitals
PLAN = FEDERATION.plan(length=3)
ROUNDS = {h.name: FEDERATION.contribute(PLAN, h, np.zeros(3, np.uint32)) for h in FEDERATION.hospitals}
STATE = ROUNDS["a"][0]


def requested(site: str = "a", survivors: str = "abc") -> UnmaskRequest:
    """What an honest coordinator asks of `site`."""
    collector = Collector(PLAN, FEDERATION.roster)
    for name in survivors:
        collector.add(ROUNDS[name][1])
    collector.close()
    return unpack(UnmaskRequest, collector.request(site))


REQUEST = requested()


def answer(request: UnmaskRequest, rules: SiteRules | None = None, state: RoundState = STATE) -> UnmaskAnswer:
    data = unmask(state, pack(request), identity=A.identity, rules=rules or SiteRules())
    return unpack(UnmaskAnswer, data)


def test_a_contribution_masks_in_place_and_is_signed() -> None:
    vector = np.arange(3, dtype=np.uint32)
    seat = FEDERATION.seat(PLAN, A)
    state, data = contribute(seat, vector, run_key=A.run_key, identity=A.identity)
    message = unpack(Contribution, data)
    assert vector.tolist() != [0, 1, 2]
    assert bytes(message.vector) == vector.tobytes()
    verify(A.identity.public, message.signature, CONTRIBUTION_LABEL, *contribution_parts(message))
    assert [len(bundle) for bundle in message.bundles] == [4 * SHARE_BYTES + 28] * 3
    assert unpack(RoundState, pack(state)) == state
    assert repr(state) == "RoundState(...)"


@pytest.mark.parametrize(
    "vector", [np.zeros(4, np.uint32), np.zeros(3, np.int64), np.zeros((1, 3), np.uint32), np.zeros(6, np.uint32)[::2]]
)
def test_a_vector_of_another_shape_is_a_bug(vector: Any) -> None:
    with pytest.raises(MisuseError, match="vector"):
        contribute(FEDERATION.seat(PLAN, A), vector, run_key=A.run_key, identity=A.identity)


def test_another_run_key_is_a_bug() -> None:
    with pytest.raises(MisuseError, match="run key"):
        contribute(FEDERATION.seat(PLAN, A), np.zeros(3, np.uint32), run_key=new_run_key(), identity=A.identity)


def test_an_answer_holds_one_kind_of_secret_per_member() -> None:
    """a, with survivors a, b, c: shares of b_a, b_b, b_c; s_ad; shares of s_bd and s_cd. Nothing else."""
    reply = answer(REQUEST)
    assert len(reply.self_shares) == 3 * SHARE_BYTES
    assert reply.pair_seeds == STATE.seeds[3]
    assert len(reply.pair_shares) == 2 * SHARE_BYTES
    verify(A.identity.public, reply.signature, ANSWER_LABEL, *answer_parts(reply))
    everything = pack(reply)
    assert not any(seed in everything for seed in STATE.seeds[1:3])
    pair_shares = [STATE.own_shares[k * SHARE_BYTES : (k + 1) * SHARE_BYTES] for k in (1, 2, 3)]
    assert not any(share in everything for share in pair_shares)


def test_without_drop_outs_no_pair_seed_leaves() -> None:
    reply = answer(requested(survivors="abcd"))
    assert (reply.pair_seeds, reply.pair_shares) == (b"", b"")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": bytes(32)}, "another"),
        ({"site": "b"}, "another"),
        ({"survivors": ("b", "c", "d")}, "a in them"),
        ({"survivors": ("a", "b", "z")}, "members of the cohort"),
        ({"survivors": ("a", "b", "b")}, "once"),
        ({"survivors": ("b", "a", "c")}, "sorted"),
        ({"survivors": ("a", "b"), "bundles": REQUEST.bundles[:1]}, "at least 3 sites"),
        ({"survivors": ()}, "a in them"),
        ({"bundles": REQUEST.bundles[:1]}, "2 bundles"),
        ({"bundles": (*REQUEST.bundles, REQUEST.bundles[0])}, "2 bundles"),
        ({"bundles": REQUEST.bundles[::-1]}, "bundle from b to a"),
        ({"survivors": ("a", "b", "d")}, "bundle from d to a"),
        ({"bundles": (REQUEST.bundles[0], bytes(160))}, "bundle from c to a"),
        ({"bundles": requested("b").bundles}, "bundle from b to a"),
        ({"bundles": (b"", b"")}, "bundle from b to a"),
    ],
)
def test_a_hostile_request_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(PeerError, match=match):
        answer(replace(REQUEST, **change))


@pytest.mark.parametrize(
    ("rules", "match"),
    [(SiteRules(min_survivors=4), "at least 4"), (SiteRules(named_peers=("d",)), "d in it")],
)
def test_a_site_may_demand_more_survivors(rules: SiteRules, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        answer(REQUEST, rules)
    assert answer(requested(survivors="abcd"), rules).site == "a"


def test_a_request_of_an_earlier_plan_is_refused_under_a_later_state() -> None:
    later = FEDERATION.plan(length=3, round=2)
    state, _ = FEDERATION.contribute(later, A, np.zeros(3, np.uint32))
    with pytest.raises(PeerError, match="another"):
        answer(REQUEST, state=state)
    with pytest.raises(PeerError, match="bundle from b to a"):
        answer(replace(REQUEST, plan=later.digest()), state=state)


def test_noise_and_wrong_types_do_not_decode() -> None:
    for data in (b"", b"\xc1", pack(REQUEST)[:-1], pack(answer(REQUEST)), b"\x81\xa4plan\x01"):
        with pytest.raises(PeerError, match="UnmaskRequest"):
            unmask(STATE, data, identity=A.identity, rules=SiteRules())
