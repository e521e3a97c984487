from typing import Any

import pytest
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.errors import PeerError
from shared.secagg.joining import JoinRecord, RunKey, join
from shared.secagg.plan import Plan, SiteRules, check_cohort, check_plan, threshold_for
from shared.secagg.rehearsal import PAYLOAD, STUDY_HASH, Federation, Hospital
from shared.wire import pack, unpack

FEDERATION = Federation.of(4)
A, B, C, D = FEDERATION.hospitals
PLAN = FEDERATION.plan(length=8)
OTHER = bytes([7] * 32)


def check(plan: Plan, site: Hospital = A, rules: SiteRules | None = None, **expected: Any) -> None:
    known: dict[str, Any] = {"step": "train", "payload": PAYLOAD, "length": 8, "quantizer": b""} | expected
    check_plan(plan, site.join, FEDERATION.roster, rules or SiteRules(), **known)


def rejoined(site: Hospital, key: RunKey, run: str = "rehearsal") -> JoinRecord:
    return join(key, site.identity, site=site.name, run=run, study_hash=STUDY_HASH, roster_hash=site.join.roster_hash)


def test_a_plan_in_order_gives_each_site_its_seat() -> None:
    plan = unpack(Plan, pack(PLAN))
    for number, hospital in enumerate(FEDERATION.hospitals):
        seat = FEDERATION.seat(plan, hospital)
        assert (seat.number, seat.digest, seat.own) == (number, PLAN.digest(), hospital.join)


@pytest.mark.parametrize(
    "change",
    [
        {"run": "x"},
        {"study_hash": OTHER},
        {"roster_hash": OTHER},
        {"round": 2},
        {"attempt": 1},
        {"step": "evaluate"},
        {"payload": OTHER},
        {"cohort": PLAN.cohort[:3]},
        {"threshold": 4},
        {"quantizer": b"q"},
        {"length": 9},
    ],
)
def test_the_digest_binds_every_field(change: dict[str, Any]) -> None:
    assert replace(PLAN, **change).digest() != PLAN.digest()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"run": "x"}, "run"),
        ({"study_hash": OTHER}, "another study"),
        ({"roster_hash": OTHER}, "another study"),
        ({"step": "evaluate"}, "step"),
        ({"payload": OTHER}, "payload"),
        ({"quantizer": b"q"}, "quantizer"),
        ({"length": 9}, "length"),
        ({"cohort": PLAN.cohort[1:]}, "a with the run key"),
        ({"cohort": PLAN.cohort[:1], "threshold": 2}, "threshold"),
        ({"cohort": PLAN.cohort[::-1]}, "sorted"),
        ({"cohort": (A.join, A.join, B.join, C.join)}, "once"),
        ({"threshold": 1}, "threshold"),
        ({"threshold": 2}, "majority"),
        ({"threshold": 5}, "threshold"),
    ],
)
def test_a_plan_that_differs_from_the_study_or_the_rules_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(PeerError, match=match):
        check(replace(PLAN, **change))


@pytest.mark.parametrize(
    ("rules", "match"),
    [
        (SiteRules(min_cohort=5), "at least 5 sites"),
        (SiteRules(min_threshold=4), "at least 4"),
        (SiteRules(named_peers=("b", "z")), "z in it"),
    ],
)
def test_a_site_may_be_stricter(rules: SiteRules, match: str) -> None:
    with pytest.raises(PeerError, match=match):
        check(PLAN, rules=rules)


def test_a_member_without_a_roster_entry_or_signature_is_refused() -> None:
    stranger = join(
        RunKey(private=bytes(32), public=D.join.public_key),
        Identity.generate(),
        site="e",
        run="rehearsal",
        study_hash=STUDY_HASH,
        roster_hash=A.join.roster_hash,
    )
    with pytest.raises(PeerError, match="unknown name"):
        check(replace(PLAN, cohort=(*PLAN.cohort[:3], stranger)))
    with pytest.raises(PeerError, match="signature"):
        check(replace(PLAN, cohort=(*PLAN.cohort[:3], replace(D.join, signature=bytes(64)))))


def test_a_key_listed_twice_is_refused_though_each_owner_signed_it() -> None:
    """A peer that lists this site's own key, or two peers with one key."""
    for key in (A.run_key, C.run_key):
        cohort = (*PLAN.cohort[:3], rejoined(D, key))
        with pytest.raises(PeerError, match="run key of its own"):
            check(replace(PLAN, cohort=cohort))


def test_the_sites_own_record_with_another_key_is_refused() -> None:
    """The coordinator lists the site by a join record of its past."""
    old = rejoined(A, RunKey(private=bytes(32), public=Federation.of(1).hospitals[0].join.public_key))
    with pytest.raises(PeerError, match="a with the run key it joined by"):
        check(replace(PLAN, cohort=(old, *PLAN.cohort[1:])))


def test_a_member_of_another_run_is_refused() -> None:
    cohort = (*PLAN.cohort[:3], rejoined(D, D.run_key, run="earlier"))
    with pytest.raises(PeerError, match="'earlier'"):
        check(replace(PLAN, cohort=cohort))


def test_the_coordinator_holds_itself_to_the_same_cohort() -> None:
    check_cohort(PLAN, FEDERATION.roster)
    with pytest.raises(PeerError):
        check_cohort(replace(PLAN, threshold=1), FEDERATION.roster)


@pytest.mark.parametrize(
    "field", [{"threshold": 1}, {"length": 0}, {"round": -1}, {"payload": b""}, {"step": "predict"}]
)
def test_values_out_of_range_do_not_decode(field: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match="Plan"):
        unpack(Plan, pack(replace(PLAN, **field)))


@pytest.mark.parametrize(
    ("sites", "fraction", "expected"),
    [(2, 0.51, 2), (3, 0.6, 2), (4, 0.6, 3), (5, 0.6, 3), (10, 0.6, 6), (10, 0.7, 7), (100, 0.55, 55), (200, 1, 200)],
)
def test_thresholds_from_the_studys_fraction(sites: int, fraction: float, expected: int) -> None:
    assert threshold_for(sites, fraction) == expected
    assert all(n < 2 * threshold_for(n, 0.5) for n in range(2, 50))
