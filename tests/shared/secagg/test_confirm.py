"""Step 2, active mode: what a site confirms, what makes it unmask, what the coordinator takes, and why one set only."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from shared.crypto.identity import Identity, verify
from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Collector
from shared.secagg.member import RoundState, confirm, unmask
from shared.secagg.messages import (
    ANSWER_LABEL,
    CONFIRM_LABEL,
    Confirmation,
    ConfirmRequest,
    UnmaskRequest,
    confirm_parts,
    survivors_digest,
)
from shared.secagg.plan import SiteRules, threshold_for
from shared.secagg.rehearsal import Federation
from shared.wire import pack, unpack

FEDERATION = Federation.of(5)
BY_NAME = {hospital.name: hospital for hospital in FEDERATION.hospitals}
PLAN = FEDERATION.plan(length=2)  # t = 3
LATER = replace(PLAN, round=2)
VECTOR = np.array([1, 2**31], np.uint32)
ROUNDS = {name: FEDERATION.contribute(PLAN, BY_NAME[name], VECTOR) for name in "abcde"}
STATE = ROUNDS["a"].state
ABCD = tuple("abcd")


def confirmed(request: ConfirmRequest, rules: SiteRules | None = None, state: RoundState = STATE) -> Confirmation:
    data = confirm(state, pack(request), identity=BY_NAME[state.site].identity, rules=rules or SiteRules())
    return unpack(Confirmation, data)


def signature(
    name: str, survivors: tuple[str, ...] = ABCD, plan: bytes = STATE.plan, label: str = CONFIRM_LABEL
) -> bytes:
    """A confirmation's signature by `name`, whatever it confirms."""
    return BY_NAME[name].identity.sign(label, *confirm_parts(plan, survivors_digest(plan, survivors)))


# a site is asked to confirm


REQUEST = ConfirmRequest(plan=PLAN.digest(), site="a", survivors=ABCD)


def test_a_site_signs_plan_and_survivors() -> None:
    reply = confirmed(REQUEST)
    assert (reply.plan, reply.site) == (PLAN.digest(), "a")
    assert reply.survivors == survivors_digest(PLAN.digest(), ABCD)
    verify(BY_NAME["a"].identity.public, reply.signature, "konsil/confirm/v1", PLAN.digest(), reply.survivors)


def test_the_same_survivors_give_the_same_bytes_and_others_give_others() -> None:
    request = pack(REQUEST)
    once, again = (confirm(STATE, request, identity=BY_NAME["a"].identity, rules=SiteRules()) for _ in range(2))
    assert once == again
    others = [("a", "b", "c"), ("a", "b", "c", "e"), ("a", "b", "c", "d", "e"), ("a", "d", "e")]
    signatures = {confirmed(replace(REQUEST, survivors=survivors)).signature for survivors in [ABCD, *others]}
    assert len(signatures) == 5


def test_a_survivor_digest_names_one_plan_and_one_set() -> None:
    """However the names could run together: a, bc and ab, c."""
    sets: list[tuple[str, ...]] = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("a", "bc"), ("ab", "c"), ("a", "b", "c")]
    digests = {survivors_digest(plan, sites) for plan in (PLAN.digest(), LATER.digest()) for sites in sets}
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
    plan = replace(PLAN, adversary="semi-honest")
    state = FEDERATION.contribute(plan, BY_NAME["a"], VECTOR).state
    with pytest.raises(PeerError, match="expected a plan in active mode, got a semi-honest one"):
        confirmed(ConfirmRequest(plan=plan.digest(), site="a", survivors=ABCD), state=state)


def test_noise_and_wrong_types_do_not_decode() -> None:
    for data in (b"", b"\xc1", pack(REQUEST)[:-1], pack(confirmed(REQUEST))):
        with pytest.raises(PeerError, match="ConfirmRequest"):
            confirm(STATE, data, identity=BY_NAME["a"].identity, rules=SiteRules())


# a site is asked to unmask


def collector_of(names: str = "abcd") -> Collector:
    """Closed, and nothing confirmed."""
    collector = Collector(PLAN, FEDERATION.roster)
    for name in names:
        collector.add(ROUNDS[name].contribution, ROUNDS[name].vector)
    collector.close()
    return collector


def confirmation_of(collector: Collector, name: str) -> bytes:
    request = collector.ask_confirm(name)
    return confirm(ROUNDS[name].state, request, identity=BY_NAME[name].identity, rules=SiteRules())


def settled(confirming: str = "abcd", names: str = "abcd") -> Collector:
    collector = collector_of(names)
    for name in confirming:
        assert collector.confirm(confirmation_of(collector, name)) == name
    collector.settle()
    return collector


UNMASK = unpack(UnmaskRequest, settled().request("a"))
NAMED: dict[str, Callable[[str], bytes]] = {
    "right": signature,
    "another set": lambda name: signature(name, tuple("abce")),
    "a smaller set": lambda name: signature(name, tuple("abc")),
    "another order": lambda name: signature(name, tuple("bacd")),
    "another plan": lambda name: signature(name, plan=LATER.digest()),
    "another purpose": lambda name: signature(name, label=ANSWER_LABEL),
    "another member": lambda name: signature("e"),
    "its neighbour": lambda name: signature("abcd"["abcd".index(name) - 1]),
    "a stranger": lambda name: Identity.generate().sign(
        CONFIRM_LABEL, *confirm_parts(STATE.plan, survivors_digest(STATE.plan, ABCD))
    ),
    "zeros": lambda name: bytes(64),
    "too short": lambda name: signature(name)[:-1],
    "too long": lambda name: signature(name) + b"\0",
    "one bit off": lambda name: bytes([signature(name)[0] ^ 1]) + signature(name)[1:],
    "none": lambda name: b"",
}


def answered(request: UnmaskRequest, state: RoundState = STATE) -> bytes:
    return unmask(state, pack(request), identity=BY_NAME[state.site].identity, rules=SiteRules())


@pytest.mark.parametrize("confirming", ["abc", "abd", "bcd", "abcd"])
def test_any_t_confirmations_make_every_survivor_unmask(confirming: str) -> None:
    """The site that is asked need not be among them; places of those that gave none are empty."""
    collector = settled(confirming)
    for name in "abcd":
        request = unpack(UnmaskRequest, collector.request(name))
        assert [bool(given) for given in request.confirmations] == [member in confirming for member in "abcd"]
        collector.answer(answered(request, ROUNDS[name].state))
    assert collector.finish().tolist() == [4, 0]


@pytest.mark.parametrize("confirming", ["", *"abcd", "ab", "ac", "cd"])
def test_fewer_than_t_confirmations_unmask_nothing(confirming: str) -> None:
    """A coordinator that goes on regardless."""
    places = tuple(signature(name) if name in confirming else b"" for name in "abcd")
    with pytest.raises(PeerError, match=f"confirmations: expected at least 3, got {len(confirming)}"):
        answered(replace(UNMASK, confirmations=places))


@pytest.mark.parametrize("kind", [kind for kind in NAMED if kind not in ("right", "none")])
@pytest.mark.parametrize("place", range(4))
def test_one_bad_signature_among_good_ones_is_refused(kind: str, place: int) -> None:
    """Though three good ones are there: an honest coordinator checked each."""
    places = tuple(NAMED[kind if k == place else "right"](name) for k, name in enumerate("abcd"))
    with pytest.raises(PeerError, match="signature for konsil/confirm/v1"):
        answered(replace(UNMASK, confirmations=places))


@pytest.mark.parametrize("kind", [kind for kind in NAMED if kind not in ("right", "none")])
def test_signatures_of_one_wrong_kind_are_refused(kind: str) -> None:
    with pytest.raises(PeerError, match="signature for konsil/confirm/v1"):
        answered(replace(UNMASK, confirmations=tuple(NAMED[kind](name) for name in "abcd")))


def test_the_good_ones_alone_are_enough() -> None:
    right = unpack(UnmaskRequest, settled("bcd").request("a")).confirmations
    assert right == tuple(NAMED["none" if name == "a" else "right"](name) for name in "abcd")
    answered(replace(UNMASK, confirmations=right))


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_another_number_of_places_is_refused(count: int) -> None:
    """Fifth: e's right signature, which dropped."""
    places = tuple(signature(name) for name in "abcde")[:count]
    with pytest.raises(PeerError, match=f"confirmations: expected 4 places, one per survivor, got {count}"):
        answered(replace(UNMASK, confirmations=places))


def test_a_signature_counts_at_its_owners_place_only() -> None:
    """One site's signature three times over, or all of them in another order."""
    for names in ("aaaa", "bcda", "dcba"):
        with pytest.raises(PeerError, match="signature"):
            answered(replace(UNMASK, confirmations=tuple(signature(name) for name in names)))


def test_confirmations_of_another_set_do_not_unmask_this_one() -> None:
    """The coordinator shows a, b, c the set abce and asks them to unmask abcd, or the other way round."""
    elsewhere = unpack(UnmaskRequest, settled("abce", "abce").request("a"))
    for request in (
        replace(UNMASK, confirmations=elsewhere.confirmations),
        replace(UNMASK, survivors=elsewhere.survivors, bundles=elsewhere.bundles),
    ):
        with pytest.raises(PeerError, match="signature"):
            answered(request)


def test_confirmations_with_a_semi_honest_plan_are_refused() -> None:
    plan = replace(PLAN, adversary="semi-honest")
    rounds = {name: FEDERATION.contribute(plan, BY_NAME[name], VECTOR) for name in "abcd"}
    collector = Collector(plan, FEDERATION.roster)
    for masked in rounds.values():
        collector.add(masked.contribution, masked.vector)
    collector.close()
    request = unpack(UnmaskRequest, collector.request("a"))
    assert request.confirmations == ()
    signatures = tuple(signature(name, plan=plan.digest()) for name in "abcd")
    for places in (signatures, signatures[:1], (b"",)):
        with pytest.raises(PeerError, match="confirmations: expected none in semi-honest mode"):
            answered(replace(request, confirmations=places), rounds["a"].state)
    answered(request, rounds["a"].state)


def test_the_keys_that_count_are_the_rosters() -> None:
    """Not those of the state's own making: a state with a stranger's key in place refuses the right signature."""
    identities = (*STATE.identities[:1], Identity.generate().public, *STATE.identities[2:])
    with pytest.raises(PeerError, match="signature"):
        answered(UNMASK, replace(STATE, identities=identities))


# the coordinator takes confirmations


def finished(collector: Collector) -> list[int]:
    """Everything from step 2 on, honestly; those that confirmed before stay."""
    collector.settle()
    for name in "abcd":
        collector.answer(answered(unpack(UnmaskRequest, collector.request(name)), ROUNDS[name].state))
    return [int(word) for word in collector.finish()]


def test_each_survivor_is_asked_about_the_same_set() -> None:
    collector = collector_of()
    for name in "abcd":
        request = unpack(ConfirmRequest, collector.ask_confirm(name))
        assert request == ConfirmRequest(plan=PLAN.digest(), site=name, survivors=ABCD)
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
        ({"survivors": survivors_digest(PLAN.digest(), tuple("abc"))}, "confirmation of d: expected the survivors"),
        ({"survivors": b""}, "confirmation of d: expected the survivors"),
        ({"signature": b""}, "signature"),
        ({"signature": signature("d", tuple("abc"))}, "signature"),
        ({"signature": signature("d", plan=LATER.digest())}, "signature"),
        ({"signature": signature("d", label=ANSWER_LABEL)}, "signature"),
        ({"signature": signature("e")}, "signature"),
    ],
)
def test_a_hostile_confirmation_changes_nothing(change: dict[str, Any], match: str) -> None:
    """a and b confirmed, d is hostile: t is not reached by it, and c's honest word still counts."""
    collector = collector_of()
    for name in "ab":
        collector.confirm(confirmation_of(collector, name))
    hostile = replace(unpack(Confirmation, confirmation_of(collector, "d")), **change)
    with pytest.raises(PeerError, match=match):
        collector.confirm(pack(hostile))
    with pytest.raises(OperatorError, match="confirmations: expected at least 3 of 5 sites, got 2"):
        collector.settle()
    collector.confirm(confirmation_of(collector, "c"))
    assert finished(collector) == [4, 0]


def test_a_dropped_sites_rightly_signed_confirmation_is_refused() -> None:
    """e contributed too late; what it signs of this set is true, and still no confirmation of a survivor."""
    collector = collector_of()
    message = Confirmation(
        plan=PLAN.digest(), site="e", survivors=survivors_digest(PLAN.digest(), ABCD), signature=signature("e")
    )
    with pytest.raises(PeerError, match="a dropped site"):
        collector.confirm(pack(message))


def test_a_second_confirmation_is_refused_and_the_first_one_kept() -> None:
    collector = collector_of()
    data = confirmation_of(collector, "a")
    collector.confirm(data)
    with pytest.raises(PeerError, match="message of a: expected one, got a second"):
        collector.confirm(data)
    for name in "bc":
        collector.confirm(confirmation_of(collector, name))
    assert finished(collector) == [4, 0]


def test_noise_is_no_confirmation() -> None:
    collector = collector_of()
    for data in (b"", b"\xc1", confirmation_of(collector, "a")[:-1], collector.ask_confirm("a")):
        with pytest.raises(PeerError, match="Confirmation"):
            collector.confirm(data)


def test_too_few_confirmations_wait_for_more() -> None:
    collector = collector_of()
    for given, name in enumerate("abc"):
        with pytest.raises(OperatorError, match=f"confirmations: expected at least 3 of 5 sites, got {given}"):
            collector.settle()
        collector.confirm(confirmation_of(collector, name))
    assert finished(collector) == [4, 0]


def test_a_confirmation_that_comes_late_is_out_of_order_and_changes_nothing() -> None:
    collector = collector_of()
    late = confirmation_of(collector, "d")
    for name in "abc":
        collector.confirm(confirmation_of(collector, name))
    collector.settle()
    before = collector.request("a")
    with pytest.raises(MisuseError, match="request, answer and finish in this phase"):
        collector.confirm(late)
    assert collector.request("a") == before


def test_the_steps_have_one_order() -> None:
    collector = Collector(PLAN, FEDERATION.roster)
    steps: list[Callable[[], object]] = [
        lambda: collector.ask_confirm("a"),
        lambda: collector.confirm(b""),
        collector.settle,
    ]
    for name in "abcd":
        for step in steps:
            with pytest.raises(MisuseError, match="expected add in this phase, got ask_confirm, confirm and settle"):
                step()
        collector.add(ROUNDS[name].contribution, ROUNDS[name].vector)
    collector.close()
    others: list[Callable[[], object]] = [
        lambda: collector.add(ROUNDS["e"].contribution, ROUNDS["e"].vector),
        collector.close,
        lambda: collector.request("a"),
        lambda: collector.answer(b""),
        collector.finish,
    ]
    for step in others:
        with pytest.raises(MisuseError, match="expected ask_confirm, confirm and settle in this phase"):
            step()
    for name in "abcd":
        collector.confirm(confirmation_of(collector, name))
    collector.settle()
    for step in steps:
        with pytest.raises(MisuseError, match="expected request, answer and finish in this phase"):
            step()


# why one set only: the arithmetic of the threshold


def two_sets_possible(n: int, c: int, t: int) -> bool:
    """Whether two different survivor sets can both collect t confirmations, of n members c of whom confirm anything.

    Sizes say all: `common` colluders confirm both sets; of the honest, `first` confirm one and `second` the other, each
    one set, so that first + second <= n - c.
    """
    honest = n - c
    return any(
        first + common >= t and second + common >= t
        for common in range(c + 1)
        for first in range(honest + 1)
        for second in range(honest - first + 1)
    )


def test_two_survivor_sets_never_both_collect_t_confirmations() -> None:
    """For all n ≤ 30, c < n; and t members can always be asked, one of them at least honest."""
    for n in range(2, 31):
        for c in range(n):
            t = threshold_for(n, 0.5, c)
            assert t > c
            assert 2 * t > n + c
            assert t <= n
            assert not two_sets_possible(n, c, t), (n, c, t)


def test_the_threshold_is_the_smallest_that_holds() -> None:
    """One less and, but for the floor of 2, two sets can be confirmed."""
    for n in range(2, 31):
        for c in range(n):
            t = threshold_for(n, 0.5, c)
            assert t == 2 or two_sets_possible(n, c, t - 1), (n, c, t)


def test_the_sizes_say_what_the_sets_would() -> None:
    """`two_sets_possible` against every choice of confirmers of two sets, up to six members, the first c colluding."""
    for n in range(2, 7):
        members = [frozenset(chosen) for size in range(n + 1) for chosen in combinations(range(n), size)]
        for c in range(n):
            for t in range(1, n + 1):
                enough = [chosen for chosen in members if len(chosen) >= t]
                # who confirms both is a colluder
                found = any(max(one & other, default=-1) < c for one in enough for other in enough)
                assert found == two_sets_possible(n, c, t), (n, c, t)
