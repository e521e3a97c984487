"""Step 2, active mode: what a site confirms, and what the coordinator takes for a confirmation.

What confirmations make a site unmask, and why for one set only, is in test_one_set.py.
"""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from shared.crypto.identity import verify
from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.member import RoundState, confirm
from shared.secagg.messages import ANSWER_LABEL, Confirmation, ConfirmRequest, survivors_digest
from shared.secagg.plan import SiteRules
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import Sums, rounds_of

ROUNDS = rounds_of(5, "active")  # t = 3
LATER = replace(ROUNDS.plan, round=2)
STATE = ROUNDS.members["a"].state
ABCD = tuple("abcd")
REQUEST = ConfirmRequest(plan=ROUNDS.plan.digest(), site="a", survivors=ABCD)


def confirmed(request: ConfirmRequest, rules: SiteRules | None = None, state: RoundState = STATE) -> Confirmation:
    data = confirm(state, pack(request), identity=ROUNDS.hospital(state.site).identity, rules=rules or SiteRules())
    return unpack(Confirmation, data)


# a site is asked to confirm


def test_a_site_signs_plan_and_survivors() -> None:
    reply = confirmed(REQUEST)
    assert (reply.plan, reply.site) == (ROUNDS.plan.digest(), "a")
    assert reply.survivors == survivors_digest(ROUNDS.plan.digest(), ABCD)
    verify(
        ROUNDS.hospital("a").identity.public,
        reply.signature,
        "konsil/confirm/v1",
        ROUNDS.plan.digest(),
        reply.survivors,
    )


def test_the_same_survivors_give_the_same_bytes_and_others_give_others() -> None:
    request = pack(REQUEST)
    once, again = (confirm(STATE, request, identity=ROUNDS.hospital("a").identity, rules=SiteRules()) for _ in range(2))
    assert once == again
    others = [("a", "b", "c"), ("a", "b", "c", "e"), ("a", "b", "c", "d", "e"), ("a", "d", "e")]
    signatures = {confirmed(replace(REQUEST, survivors=survivors)).signature for survivors in [ABCD, *others]}
    assert len(signatures) == 5


def test_a_survivor_digest_names_one_plan_and_one_set() -> None:
    """However the names could run together: a, bc and ab, c."""
    sets: list[tuple[str, ...]] = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("a", "bc"), ("ab", "c"), ("a", "b", "c")]
    digests = {survivors_digest(plan, sites) for plan in (ROUNDS.plan.digest(), LATER.digest()) for sites in sets}
    assert len(digests) == 2 * len(sets)


def test_a_confirmation_tells_no_secret() -> None:
    everything = pack(confirmed(REQUEST))
    assert len(everything) < 256
    assert not any(seed in everything for seed in (*STATE.seeds, *STATE.openers) if seed)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": LATER.digest()}, "stored plan and a, got another"),
        ({"plan": b""}, "stored plan and a, got another"),
        ({"site": "b"}, "stored plan and a, got another"),
        ({"survivors": ("b", "c", "d")}, "expected a in them, got 3 others"),
        ({"survivors": ()}, "expected a in them"),
        ({"survivors": ("a", "b", "z")}, "members of the cohort"),
        ({"survivors": ("a", "b", "c", "d", "e", "f")}, "members of the cohort"),
        ({"survivors": ("a", "c", "b")}, "members of the cohort, once, sorted"),
        ({"survivors": ("a", "b", "b", "c")}, "members of the cohort, once, sorted"),
        ({"survivors": ("a", "a", "a")}, "members of the cohort, once, sorted"),
        ({"survivors": ("a", "b")}, "survivors: expected at least 3 sites, got 2"),
        ({"survivors": ("a",)}, "survivors: expected at least 3 sites, got 1"),
    ],
)
def test_a_hostile_confirm_request_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(PeerError, match=match):
        confirmed(replace(REQUEST, **change))


@pytest.mark.parametrize(
    ("rules", "match"),
    [
        (SiteRules(min_survivors=5), "at least 5 sites, got 4"),
        (SiteRules(named_peers=("e",)), "expected e in it"),
        (SiteRules(named_peers=("b", "e", "z")), "expected e, z in it"),
    ],
)
def test_a_site_may_demand_more_of_what_it_confirms(rules: SiteRules, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        confirmed(REQUEST, rules)
    if "z" not in rules.named_peers:
        assert confirmed(replace(REQUEST, survivors=tuple("abcde")), rules).site == "a"


def test_a_site_without_demands_of_its_own_still_keeps_to_the_threshold() -> None:
    with pytest.raises(PeerError, match="at least 3 sites"):
        confirmed(replace(REQUEST, survivors=("a", "b")), SiteRules(min_survivors=0))


def test_a_semi_honest_plan_is_never_confirmed() -> None:
    rounds = rounds_of(5, "semi-honest")
    request = ConfirmRequest(plan=rounds.plan.digest(), site="a", survivors=ABCD)
    with pytest.raises(PeerError, match="expected a plan in active mode, got a semi-honest one"):
        confirmed(request, state=rounds.members["a"].state)


def test_noise_and_wrong_types_do_not_decode() -> None:
    for data in (b"", b"\xc1", pack(REQUEST)[:-1], pack(confirmed(REQUEST))):
        with pytest.raises(PeerError, match="ConfirmRequest"):
            confirm(STATE, data, identity=ROUNDS.hospital("a").identity, rules=SiteRules())


# the coordinator takes confirmations


def closed(names: str = "abcd") -> Collector:
    """And nothing confirmed."""
    collector = ROUNDS.collector(names)
    collector.close()
    return collector


def finished(collector: Collector) -> Sums:
    """Everything from step 2 on, honestly; those that confirmed before stay."""
    collector.settle()
    return ROUNDS.read(ROUNDS.answer(collector, "abcd").finish())


def test_each_survivor_is_asked_about_the_same_set() -> None:
    collector = closed()
    for name in "abcd":
        request = unpack(ConfirmRequest, collector.ask_confirm(name))
        assert request == ConfirmRequest(plan=ROUNDS.plan.digest(), site=name, survivors=ABCD)
    with pytest.raises(MisuseError, match="survivor, got e"):
        collector.ask_confirm("e")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"plan": LATER.digest()}, "message: expected plan"),
        ({"site": "z"}, "a member of the cohort, got z"),
        ({"site": "e"}, "confirmation of e: expected one of a survivor, got a dropped site"),
        ({"site": "b"}, "message of b: expected one, got a second"),
        ({"site": "c"}, "signature"),
        (
            {"survivors": survivors_digest(ROUNDS.plan.digest(), tuple("abc"))},
            "confirmation of d: expected the survivors",
        ),
        ({"survivors": b""}, "confirmation of d: expected the survivors"),
        ({"signature": b""}, "signature"),
        ({"signature": ROUNDS.confirm_signature("d", tuple("abc"))}, "signature"),
        ({"signature": ROUNDS.confirm_signature("d", plan=LATER.digest())}, "signature"),
        ({"signature": ROUNDS.confirm_signature("d", label=ANSWER_LABEL)}, "signature"),
        ({"signature": ROUNDS.confirm_signature("e")}, "signature"),
    ],
)
def test_a_hostile_confirmation_changes_nothing(change: dict[str, Any], match: str) -> None:
    """a and b confirmed, d is hostile: t is not reached by it, and c's honest word still counts."""
    collector = closed()
    ROUNDS.confirm(collector, "ab")
    hostile = replace(unpack(Confirmation, ROUNDS.confirmation(collector, "d")), **change)
    with pytest.raises(PeerError, match=match):
        collector.confirm(pack(hostile))
    with pytest.raises(OperatorError, match="confirmations: expected at least 3 of 5 sites, got 2"):
        collector.settle()
    ROUNDS.confirm(collector, "c")
    assert finished(collector) == ROUNDS.total_of("abcd")


def test_a_dropped_sites_rightly_signed_confirmation_is_refused() -> None:
    """e contributed too late; what it signs of this set is true, and still no confirmation of a survivor."""
    collector = closed()
    message = Confirmation(
        plan=ROUNDS.plan.digest(),
        site="e",
        survivors=survivors_digest(ROUNDS.plan.digest(), ABCD),
        signature=ROUNDS.confirm_signature("e"),
    )
    with pytest.raises(PeerError, match="a dropped site"):
        collector.confirm(pack(message))


def test_a_second_confirmation_is_refused_and_the_first_one_kept() -> None:
    collector = closed()
    data = ROUNDS.confirmation(collector, "a")
    collector.confirm(data)
    with pytest.raises(PeerError, match="message of a: expected one, got a second"):
        collector.confirm(data)
    ROUNDS.confirm(collector, "bc")
    assert finished(collector) == ROUNDS.total_of("abcd")


def test_noise_is_no_confirmation() -> None:
    collector = closed()
    for data in (b"", b"\xc1", ROUNDS.confirmation(collector, "a")[:-1], collector.ask_confirm("a")):
        with pytest.raises(PeerError, match="Confirmation"):
            collector.confirm(data)


def test_too_few_confirmations_wait_for_more() -> None:
    collector = closed()
    for given, name in enumerate("abc"):
        with pytest.raises(OperatorError, match=f"confirmations: expected at least 3 of 5 sites, got {given}"):
            collector.settle()
        collector.confirm(ROUNDS.confirmation(collector, name))
    assert finished(collector) == ROUNDS.total_of("abcd")


def test_a_confirmation_that_comes_late_is_out_of_order_and_changes_nothing() -> None:
    collector = closed()
    late = ROUNDS.confirmation(collector, "d")
    ROUNDS.settle(collector, "abc")
    before = collector.request("a")
    with pytest.raises(MisuseError, match="request, answer and finish in this phase"):
        collector.confirm(late)
    assert collector.request("a") == before


def test_the_steps_have_one_order() -> None:
    collector = ROUNDS.collector()
    steps: list[Callable[[], object]] = [
        lambda: collector.ask_confirm("a"),
        lambda: collector.confirm(b""),
        collector.settle,
    ]
    for name in "abcd":
        for step in steps:
            with pytest.raises(MisuseError, match="expected add in this phase, got ask_confirm, confirm and settle"):
                step()
        ROUNDS.add(collector, name)
    collector.close()
    others: list[Callable[[], object]] = [
        lambda: ROUNDS.add(collector, "e"),
        collector.close,
        lambda: collector.request("a"),
        lambda: collector.answer(b""),
        collector.finish,
    ]
    for step in others:
        with pytest.raises(MisuseError, match="expected ask_confirm, confirm and settle in this phase"):
            step()
    ROUNDS.settle(collector, "abcd")
    for step in steps:
        with pytest.raises(MisuseError, match="expected request, answer and finish in this phase"):
            step()
