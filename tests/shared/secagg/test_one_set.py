"""Active mode: one survivor set of a plan is unmasked at most.

A site demands t members' signatures on the very set before it helps to unmask, and the threshold leaves no room for t
signatures on two sets.
"""

from collections.abc import Callable
from itertools import combinations

import pytest
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.errors import PeerError
from shared.secagg.collector import Collector
from shared.secagg.member import RoundState, unmask
from shared.secagg.messages import ANSWER_LABEL, CONFIRM_LABEL, UnmaskRequest, confirm_parts, survivors_digest
from shared.secagg.plan import SiteRules, threshold_for
from shared.wire import pack, unpack
from tests.shared.secagg.rounds import rounds_of

ROUNDS = rounds_of(5, "active")  # t = 3
LATER = replace(ROUNDS.plan, round=2)
STATE = ROUNDS.members["a"].state
ABCD = tuple("abcd")


def settled(confirming: str, names: str = "abcd") -> Collector:
    collector = ROUNDS.collector(names)
    collector.close()
    return ROUNDS.settle(collector, confirming)


# what a site demands


UNMASK = unpack(UnmaskRequest, settled("abcd").request("a"))
NAMED: dict[str, Callable[[str], bytes]] = {
    "right": ROUNDS.confirm_signature,
    "another set": lambda name: ROUNDS.confirm_signature(name, tuple("abce")),
    "a smaller set": lambda name: ROUNDS.confirm_signature(name, tuple("abc")),
    "another order": lambda name: ROUNDS.confirm_signature(name, tuple("bacd")),
    "another plan": lambda name: ROUNDS.confirm_signature(name, plan=LATER.digest()),
    "another purpose": lambda name: ROUNDS.confirm_signature(name, label=ANSWER_LABEL),
    "another member": lambda name: ROUNDS.confirm_signature("e"),
    "its neighbour": lambda name: ROUNDS.confirm_signature("abcd"["abcd".index(name) - 1]),
    "a stranger": lambda name: Identity.generate().sign(
        CONFIRM_LABEL, *confirm_parts(STATE.plan, survivors_digest(STATE.plan, ABCD))
    ),
    "zeros": lambda name: bytes(64),
    "too short": lambda name: ROUNDS.confirm_signature(name)[:-1],
    "too long": lambda name: ROUNDS.confirm_signature(name) + b"\0",
    "one bit off": lambda name: bytes([ROUNDS.confirm_signature(name)[0] ^ 1]) + ROUNDS.confirm_signature(name)[1:],
    "none": lambda name: b"",
}


def answered(request: UnmaskRequest, state: RoundState = STATE) -> bytes:
    return unmask(state, pack(request), identity=ROUNDS.hospital(state.site).identity, rules=SiteRules())


@pytest.mark.parametrize("confirming", ["abc", "abd", "bcd", "abcd"])
def test_any_t_confirmations_make_every_survivor_unmask(confirming: str) -> None:
    """The site that is asked need not be among them; places of those that gave none are empty."""
    collector = settled(confirming)
    for name in "abcd":
        request = unpack(UnmaskRequest, collector.request(name))
        assert [bool(given) for given in request.confirmations] == [member in confirming for member in "abcd"]
        collector.answer(answered(request, ROUNDS.members[name].state))
    assert ROUNDS.read(collector.finish()) == ROUNDS.total_of("abcd")


@pytest.mark.parametrize("confirming", ["", *"abcd", "ab", "ac", "cd"])
def test_fewer_than_t_confirmations_unmask_nothing(confirming: str) -> None:
    """A coordinator that goes on regardless."""
    places = tuple(ROUNDS.confirm_signature(name) if name in confirming else b"" for name in "abcd")
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
    places = tuple(ROUNDS.confirm_signature(name) for name in "abcde")[:count]
    with pytest.raises(PeerError, match=f"confirmations: expected 4 places, one per survivor, got {count}"):
        answered(replace(UNMASK, confirmations=places))


def test_a_signature_counts_at_its_owners_place_only() -> None:
    """One site's signature three times over, or all of them in another order."""
    for names in ("aaaa", "bcda", "dcba"):
        with pytest.raises(PeerError, match="signature"):
            answered(replace(UNMASK, confirmations=tuple(ROUNDS.confirm_signature(name) for name in names)))


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
    rounds = rounds_of(5, "semi-honest")
    collector = rounds.unmasking("abcd")
    request, state = unpack(UnmaskRequest, collector.request("a")), rounds.members["a"].state
    assert request.confirmations == ()
    signatures = tuple(rounds.confirm_signature(name) for name in "abcd")
    for places in (signatures, signatures[:1], (b"",)):
        with pytest.raises(PeerError, match="confirmations: expected none in semi-honest mode"):
            answered(replace(request, confirmations=places), state)
    answered(request, state)


def test_the_keys_that_count_are_the_rosters() -> None:
    """Not those of the state's own making: a state with a stranger's key in place refuses the right signature."""
    identities = (*STATE.identities[:1], Identity.generate().public, *STATE.identities[2:])
    with pytest.raises(PeerError, match="signature"):
        answered(UNMASK, replace(STATE, identities=identities))


# the arithmetic of the threshold


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
