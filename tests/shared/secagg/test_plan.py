from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.errors import PeerError
from shared.secagg.joining import JoinRecord, RunKey, join
from shared.secagg.plan import Plan, SiteRules, Terms, check_cohort, check_plan, threshold_for
from shared.secagg.rehearsal import STUDY_HASH, Federation, Hospital
from shared.wire import pack, unpack

FEDERATION = Federation.of(4)
A, B, C, D = FEDERATION.hospitals
PLAN = FEDERATION.plan(length=8)
OTHER = bytes([7] * 32)


TERMS = Terms(**{name: getattr(PLAN, name) for name in Terms.__struct_fields__})


def check(plan: Plan, site: Hospital = A, rules: SiteRules | None = None, terms: Terms = TERMS) -> None:
    check_plan(plan, site.join, FEDERATION.roster, rules or SiteRules(), terms)


def follow(plan: Plan) -> None:
    """`check` by a site whose own terms would agree with whatever this plan says."""
    check(plan, terms=Terms(**{name: getattr(plan, name) for name in Terms.__struct_fields__}))


def shown(value: bytes) -> str:
    """Of bytes a message shows sixteen digits of their digest: they may be long, and anybody's."""
    return sha256(value).hexdigest()[:16]


def rejoined(site: Hospital, key: RunKey, run: str = "rehearsal") -> JoinRecord:
    return join(key, site.identity, site=site.name, run=run, study_hash=STUDY_HASH, roster_hash=site.join.roster_hash)


def test_a_plan_in_order_gives_each_site_its_seat() -> None:
    plan = unpack(Plan, pack(PLAN))
    for number, hospital in enumerate(FEDERATION.hospitals):
        seat = FEDERATION.seat(plan, hospital)
        assert (seat.number, seat.digest, seat.own) == (number, PLAN.digest(), hospital.join)
        assert seat.identities == tuple(peer.identity.public for peer in FEDERATION.hospitals)


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
        {"colluders": 1},
        {"adversary": "semi-honest"},
        {"quantizer": b"q"},
        {"counts": 2},
        {"length": 9},
        {"bits": 16},
    ],
)
def test_the_digest_binds_every_field(change: dict[str, Any]) -> None:
    assert replace(PLAN, **change).digest() != PLAN.digest()


def test_every_field_of_a_plan_is_bound() -> None:
    """A field that is added must come into the test above."""
    assert set(Plan.__struct_fields__) == {
        *("run", "study_hash", "roster_hash", "round", "attempt", "step", "payload", "cohort", "threshold"),
        *("colluders", "adversary", "quantizer", "counts", "length", "bits"),
    }


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"run": "x"}, "run"),
        ({"study_hash": OTHER}, "another study"),
        ({"roster_hash": OTHER}, "another study"),
        ({"step": "evaluate"}, "plan's step: expected train, got evaluate"),
        ({"payload": OTHER}, f"plan's payload: expected {shown(bytes(32))}, got {shown(OTHER)}"),
        ({"threshold": 4}, "plan's threshold: expected 3, got 4"),
        ({"threshold": 2}, "plan's threshold: expected 3, got 2"),
        ({"colluders": 1}, "plan's colluders: expected 0, got 1"),
        ({"adversary": "semi-honest"}, "plan's adversary: expected active, got semi-honest"),
        ({"quantizer": b"q"}, f"plan's quantizer: expected {shown(b'')}, got {shown(b'q')}"),
        ({"counts": 2}, "plan's counts: expected 1, got 2"),
        ({"length": 9}, "plan's length: expected 8, got 9"),
        ({"bits": 16}, "plan's bits: expected 32, got 16"),
        ({"cohort": PLAN.cohort[1:]}, "a with the run key"),
        ({"cohort": PLAN.cohort[:2]}, "threshold"),
        ({"cohort": ()}, "threshold"),
        ({"cohort": PLAN.cohort[::-1]}, "sorted"),
        ({"cohort": (A.join, A.join, B.join, C.join)}, "once"),
    ],
)
def test_a_plan_that_differs_from_the_study_or_the_rules_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(PeerError, match=match):
        check(replace(PLAN, **change))


@pytest.mark.parametrize("name", Terms.__struct_fields__)
def test_a_site_refuses_a_plan_that_differs_in_any_of_its_terms(name: str) -> None:
    """Here the site's terms are the ones changed: a study in active mode met by a semi-honest plan, and so on."""
    changed: dict[str, Any] = {
        "step": "survey",
        "payload": OTHER,
        "threshold": 4,
        "colluders": 1,
        "adversary": "semi-honest",
        "quantizer": b"q",
        "counts": 4,
        "length": 7,
        "bits": 12,
    }
    with pytest.raises(PeerError, match=f"plan's {name}"):
        check(PLAN, terms=replace(TERMS, **{name: changed[name]}))


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1},
        {"threshold": 2},
        {"threshold": 5},
        {"colluders": 2},
        {"colluders": 4},
        {"cohort": PLAN.cohort[:1], "threshold": 2},
        {"cohort": PLAN.cohort[:1], "threshold": 1},
        {"threshold": 4, "colluders": 4},
    ],
)
def test_a_threshold_that_does_not_hold_is_refused_whatever_the_study_says(change: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match="threshold: expected more than"):
        follow(replace(PLAN, **change))


@pytest.mark.parametrize("change", [{"threshold": 4}, {"threshold": 4, "colluders": 3}, {"adversary": "semi-honest"}])
def test_whatever_holds_is_accepted_where_the_study_says_so(change: dict[str, Any]) -> None:
    follow(replace(PLAN, **change))


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
    "field",
    [
        {"threshold": 1},
        {"colluders": -1},
        {"adversary": "honest"},
        {"cohort": ()},
        {"cohort": PLAN.cohort[:1]},
        {"counts": 0},
        {"counts": -1},
        {"counts": 2**20 + 1},
        {"length": -1},
        {"length": 2**28 + 1},
        {"bits": 9},
        {"bits": 17},
        {"bits": 31},
        {"round": -1},
        {"attempt": -1},
        {"payload": b""},
        {"step": "predict"},
    ],
)
def test_values_out_of_range_do_not_decode(field: dict[str, Any]) -> None:
    with pytest.raises(PeerError, match="Plan"):
        unpack(Plan, pack(replace(PLAN, **field)))


@pytest.mark.parametrize("field", [{"counts": 1}, {"counts": 2**20}, {"length": 0}, {"length": 2**28}])
def test_values_at_the_edge_decode(field: dict[str, int]) -> None:
    """A plan without a vector is one of counts alone; without the first count there is none."""
    plan = replace(PLAN, **field)
    assert unpack(Plan, pack(plan)) == plan


@pytest.mark.parametrize("bits", [10, 11, 12, 13, 14, 15, 16, 32])
def test_words_are_as_wide_as_they_must_be(bits: Any) -> None:
    plan = unpack(Plan, pack(replace(PLAN, bits=bits)))
    assert plan.dtype.name == ("uint32" if bits == 32 else "uint16")


@pytest.mark.parametrize(
    ("sites", "fraction", "colluders", "expected"),
    [
        (2, 0.51, 0, 2),
        (3, 0.6, 0, 2),
        (4, 0.6, 0, 3),
        (5, 0.6, 0, 3),
        (10, 0.6, 0, 6),
        (10, 0.7, 0, 7),
        (100, 0.55, 0, 55),
        (200, 1, 0, 200),
        (2, 0.51, 1, 2),  # either alone learns the other's vector from the sum; masks can do no more
        (3, 0.6, 1, 3),  # all three must answer
        (5, 0.6, 1, 4),
        (5, 0.6, 3, 5),
        (20, 0.6, 3, 12),
        (200, 0.6, 1, 120),
        (200, 0.6, 60, 131),  # the colluders ask for more than the study
    ],
)
def test_thresholds_from_the_studys_fraction(sites: int, fraction: float, colluders: int, expected: int) -> None:
    assert threshold_for(sites, fraction, colluders) == expected


def test_where_all_could_collude_no_plan_is_possible() -> None:
    for sites in range(2, 31):
        for colluders in range(sites, sites + 5):
            assert threshold_for(sites, 0.6, colluders) > sites
