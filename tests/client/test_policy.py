from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from client import rules
from client.hours import HoursPolicy, quiet_until
from client.policy import AggregationPolicy, Policy, PrivacyPolicy, read_policy
from client.rules import PassingError, findings, judge, judge_cohort, judge_hours, judge_peer_keys
from shared.crypto.roster import Roster, RosterEntry
from shared.errors import InputError, RefusalError
from shared.messages.replies import Refused
from shared.study import MINIMAL, Study, parse_study

OPEN = parse_study(MINIMAL)
PRIVATE = parse_study(
    MINIMAL.replace('mode = "off"', 'mode = "local"\nepsilon = 8\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.1').replace(
        "min_sites = 2", "min_sites = 3"
    )
)


def refused(policy: Policy, study: Study = OPEN) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        judge(policy, study)
    return caught.value


def test_privacy_off_needs_the_hospitals_leave() -> None:
    error = refused(Policy())
    assert error.rule == "privacy.least"
    assert "Set a stronger privacy.mode in the study" in str(error)


@pytest.mark.parametrize(
    ("policy", "rule", "change"),
    [
        (Policy(privacy=PrivacyPolicy(delta=1e-6)), "privacy.delta", "Lower privacy.delta"),
        (Policy(privacy=PrivacyPolicy(min_noise_multiplier=50.0)), "privacy.min_noise_multiplier", "Lower privacy.eps"),
        (Policy(aggregation=AggregationPolicy(min_cohort=4)), "aggregation.min_cohort", "Raise federation.min_sites"),
    ],
)
def test_every_rule_names_itself_and_what_to_change(policy: Policy, rule: str, change: str) -> None:
    error = refused(policy, PRIVATE)
    assert error.rule == rule
    assert error.do.startswith(change)
    assert not Refused.of(error, "alder").passing


def test_a_weaker_protocol_than_the_policy_demands_is_refused() -> None:
    weak = replace(PRIVATE, aggregation=replace(PRIVATE.aggregation, adversary="semi-honest"))
    (found,) = [each for each in findings(Policy(), weak) if not each.holds]
    judge(Policy(aggregation=AggregationPolicy(adversary="semi-honest")), weak)
    assert found.rule == "aggregation.adversary"
    assert found.change == 'Set aggregation.adversary = "active" in the study.'
    assert rules.ADVERSARIES.index("active") > rules.ADVERSARIES.index("semi-honest")


def test_masks_that_fewer_colluders_break_are_refused() -> None:
    weak = replace(PRIVATE, aggregation=replace(PRIVATE.aggregation, colluders=0))
    error = refused(Policy(), weak)
    assert (error.rule, error.do) == ("aggregation.colluders", "Raise aggregation.colluders in the study.")
    judge(Policy(aggregation=AggregationPolicy(colluders=0)), weak)


def test_the_default_policy_takes_a_private_study_over_three_hospitals() -> None:
    judge(Policy(), PRIVATE)
    assert all(found.holds for found in findings(Policy(), PRIVATE))


def test_a_target_that_no_noise_meets_is_a_broken_rule_and_no_crash() -> None:
    hopeless = replace(PRIVATE, privacy=replace(PRIVATE.privacy, epsilon=1e-9))
    assert refused(Policy(privacy=PrivacyPolicy(min_noise_multiplier=0.1)), hopeless).rule.endswith("noise_multiplier")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[privacy]\nepsilon_totel = 3\n", "Did you mean 'epsilon_total'"),
        ("[hour]\nquiet = []\n", "Did you mean 'hours'"),
        ('[studies]\nhashes = ["abc"]\n', "studies.hashes"),
        ('[aggregation.peer_keys]\nbirch = "abc"\n', "aggregation.peer_keys"),
        (f'[aggregation.peer_keys]\n"../birch" = "{"ab" * 32}"\n', "aggregation.peer_keys"),
        ('[studies]\nask = false\nmodels = ["cnn"]\n', "either ask = false, or lists"),
        ('[hours]\nquiet = ["7-9"]\n', 'spans as "07:00-18:30"'),
        ('[hours]\nquiet = ["07:00-07:00"]\n', "the whole day"),
        ('[hours]\nquiet = ["24:00-07:00"]\n', "spans as"),
        ('[hours]\nzone = "Europe/Atlantis"\n', "a time zone of the IANA database"),
        ('[hours]\nzone = "../../etc/passwd"\n', "a time zone of the IANA database"),
        ('[hours]\ndays = ["monday"]\n', "hours.days"),
        ('[aggregation]\nadversary = "lazy"\n', "aggregation.adversary"),
        ("[evaluation]\nsmallest_count = 0\n", "evaluation.smallest_count"),
    ],
)
def test_what_the_file_may_not_say_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=named.replace("[", r"\[")):
        read_policy(path)


def test_counts_of_fewer_than_five_patients_are_hidden_unless_the_file_says_otherwise() -> None:
    assert Policy().evaluation.smallest_count == 5


def test_the_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    key = "ab" * 32
    path.write_text(
        "[privacy]\nepsilon_total = 4.0\nepsilon_per_study = 2.0\ndelta = 1e-6\nmin_noise_multiplier = 0.5\n"
        'least = "distributed"\n[aggregation]\nmin_cohort = 5\npeers = ["birch"]\nadversary = "active"\n'
        "[evaluation]\nper_site_figures = true\nper_site_counts = false\nsmallest_count = 10\n"
        f'[studies]\nask = true\nhashes = ["{key}"]\nmodels = ["cnn"]\nsigners = ["{key}"]\n'
        '[hours]\nquiet = ["07:00-18:30"]\ndays = ["mon", "fri"]\nzone = "Europe/Berlin"\n'
    )
    policy = read_policy(path)
    assert (policy.limits.epsilon_total, policy.limits.epsilon_per_study, policy.limits.delta) == (4.0, 2.0, 1e-6)
    assert policy.evaluation.smallest_count == 10
    assert policy.studies.signers == (key,)
    assert policy.hours.days == ("mon", "fri")


# Cohorts


@pytest.mark.parametrize(
    ("sites", "rule"),
    [(("alder", "birch"), "aggregation.min_cohort"), (("alder", "birch", "cedar"), "aggregation.peers")],
)
def test_a_cohort_against_the_policy_is_refused_for_now(sites: tuple[str, ...], rule: str) -> None:
    policy = Policy(aggregation=AggregationPolicy(min_cohort=3, peers=("yew",)))
    with pytest.raises(PassingError) as caught:
        judge_cohort(policy, sites, "cohort")
    assert caught.value.rule == rule
    assert Refused.of(caught.value, "alder").passing
    judge_cohort(policy, ("alder", "birch", "yew"), "cohort")


def roster(**keys: bytes) -> Roster:
    entries = tuple(RosterEntry(name=name, identity=key) for name, key in keys.items())
    return Roster(version=1, entries=entries, operator=b"o" * 32, valid_from=0, valid_until=9)


PINNED = Policy(aggregation=AggregationPolicy(peer_keys={"birch": (b"b" * 32).hex()}))


def test_a_pinned_peer_with_its_key_is_welcome() -> None:
    judge_peer_keys(PINNED, roster(alder=b"a" * 32, birch=b"b" * 32))
    judge_peer_keys(Policy(), roster(alder=b"a" * 32))


@pytest.mark.parametrize(
    ("listed", "got"),
    [
        (roster(alder=b"a" * 32, birch=b"x" * 32), "another key"),
        (roster(alder=b"b" * 32, birch=b"a" * 32), "another key"),  # the key is there, under another name
        (roster(alder=b"a" * 32), "none of that name"),
    ],
)
def test_a_roster_that_changes_or_lacks_a_pinned_peer_is_refused_for_good(listed: Roster, got: str) -> None:
    with pytest.raises(RefusalError, match=f"roster: expected birch with the key .* got {got}") as caught:
        judge_peer_keys(PINNED, listed)
    assert caught.value.rule == "aggregation.peer_keys"
    assert not Refused.of(caught.value, "alder").passing


# Quiet hours. 2026-03-02 is a Monday; Berlin is one hour before UTC in winter, two in summer.

DAY = HoursPolicy(quiet=("07:00-18:30",), days=("mon", "tue", "wed", "thu", "fri"), zone="Europe/Berlin")
NIGHT = HoursPolicy(quiet=("22:00-06:00",), days=("fri",), zone="Europe/Berlin")
LUNCH = HoursPolicy(quiet=("12:00-13:00", "00:00-24:00"), days=("sun",), zone="UTC")


@pytest.mark.parametrize(
    ("hours", "utc", "end"),
    [
        (DAY, "2026-03-02T05:59", ""),
        (DAY, "2026-03-02T06:00", "18:30"),
        (DAY, "2026-03-02T17:29", "18:30"),
        (DAY, "2026-03-02T17:30", ""),
        (DAY, "2026-07-06T05:00", "18:30"),  # the same hour of the wall clock in summer
        (DAY, "2026-03-01T10:00", ""),  # a Sunday
        (NIGHT, "2026-03-06T20:59", ""),
        (NIGHT, "2026-03-06T21:00", "06:00"),
        (NIGHT, "2026-03-07T04:59", "06:00"),  # Saturday morning belongs to the span that began on Friday
        (NIGHT, "2026-03-07T05:00", ""),
        (NIGHT, "2026-03-06T03:00", ""),  # Friday morning belongs to Thursday
        (LUNCH, "2026-03-01T23:59", "24:00"),
        (LUNCH, "2026-03-02T00:00", ""),
        (HoursPolicy(), "2026-03-02T12:00", ""),
    ],
)
def test_quiet_hours_are_the_hospitals_wall_clock(hours: HoursPolicy, utc: str, end: str) -> None:
    assert quiet_until(hours, datetime.fromisoformat(utc).replace(tzinfo=UTC)) == end


def test_a_refusal_in_quiet_hours_may_pass_and_says_until_when() -> None:
    with pytest.raises(PassingError, match=r"no new round before 18:30 Europe/Berlin") as caught:
        judge_hours(Policy(hours=DAY), datetime(2026, 3, 2, 9, tzinfo=UTC))
    assert caught.value.rule == "hours.quiet"
    assert Refused.of(caught.value, "alder").passing
