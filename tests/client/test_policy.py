from pathlib import Path

import pytest

from client.policy import AggregationPolicy, Policy, PrivacyPolicy, judge, read_policy
from shared.errors import InputError, RefusalError
from shared.study import MINIMAL, parse_study

OPEN = parse_study(MINIMAL)
PRIVATE = parse_study(
    MINIMAL.replace('mode = "off"', 'mode = "local"\nepsilon = 8\ndelta = 1e-5\nclip = 1\nsampling_rate = 0.1').replace(
        "min_sites = 2", "min_sites = 3"
    )
)


def refused(policy: Policy, study: object = OPEN) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        judge(policy, study)  # type: ignore[arg-type]
    return caught.value


def test_privacy_off_needs_the_hospitals_leave() -> None:
    error = refused(Policy())
    assert error.rule == "privacy.allow_off"
    assert 'Set privacy.mode = "local" in the study' in str(error)


def test_every_rule_names_itself_and_what_to_change() -> None:
    strict = Policy(privacy=PrivacyPolicy(delta=1e-6))
    assert refused(strict, PRIVATE).rule == "privacy.delta"
    noisy = Policy(privacy=PrivacyPolicy(min_noise_multiplier=50.0))
    assert refused(noisy, PRIVATE).rule == "privacy.min_noise_multiplier"
    crowd = Policy(aggregation=AggregationPolicy(min_cohort=4))
    assert refused(crowd, PRIVATE).rule == "aggregation.min_cohort"


def test_the_default_policy_takes_a_private_study_over_three_hospitals() -> None:
    judge(Policy(), PRIVATE)


def test_unknown_rules_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[privacy]\nepsilon_totel = 3\n")
    with pytest.raises(InputError, match="Did you mean 'epsilon_total'"):
        read_policy(path)
