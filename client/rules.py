"""The rules of policy.toml, held against a study, a cohort and the clock.

A rule is one small object that names itself as the key in policy.toml, so that a refusal tells the operator what the
study would have to change. A refusal that may pass by itself (approval, quiet hours, a hospital that is away) is a
`PassingError`: the coordinator may ask again.

    >>> judge(Policy(privacy=PrivacyPolicy(least="off"), aggregation=AggregationPolicy(min_cohort=2)), study)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from client.hours import quiet_until
from client.policy import Policy
from shared.accounting import noise_multiplier, planned_steps
from shared.crypto.roster import Roster
from shared.errors import InputError, RefusalError
from shared.study import Study

#: Coordinators that the protocol holds against, weakest first; against "none" the update has no mask.
ADVERSARIES = ("none", "semi-honest", "active")
#: Modes of privacy, weakest first: what is promised in the last rests on nobody else.
MODES = ("off", "distributed", "local")


class PassingError(RefusalError):
    """The hospital says no for now: the very same request may be answered later."""

    passing = True


@dataclass(frozen=True)
class Rule:
    """`key` of policy.toml, what it demands, what the study brings, and whether that will do."""

    key: str
    demand: Callable[[Policy], str]
    brings: Callable[[Study], str]
    holds: Callable[[Policy, Study], bool]
    change: str


@dataclass(frozen=True)
class Finding:
    """One rule held against one study, in words."""

    rule: str
    demands: str
    brings: str
    holds: bool
    change: str


def _noise(study: Study) -> float:
    """The study's noise multiplier; 0 without privacy, or where no usable noise meets its target."""
    try:
        return noise_multiplier(study) or 0.0
    except InputError:
        return 0.0


def _delta(study: Study) -> float:
    """The larger δ of training and evaluation; 0 without privacy."""
    return max(study.privacy.delta or 0.0, study.evaluation.delta or 0.0)


def _masks(adversary: str) -> str:
    if adversary == "none":
        return "updates with or without masks"
    return f'masks that hold against a coordinator that is "{adversary}"'


RULES = (
    Rule(
        "privacy.least",
        lambda policy: f'privacy of mode "{policy.privacy.least}" or stronger',
        lambda study: f'privacy.mode = "{study.privacy.mode}"',
        lambda policy, study: MODES.index(study.privacy.mode) >= MODES.index(policy.privacy.least),
        "Set a stronger privacy.mode in the study.",
    ),
    Rule(
        "privacy.delta",
        lambda policy: f"delta of at most {policy.privacy.delta:g}",
        lambda study: f"{_delta(study):g}",
        lambda policy, study: _delta(study) <= policy.privacy.delta,
        "Lower privacy.delta, or evaluation.delta, in the study.",
    ),
    Rule(
        "privacy.min_noise_multiplier",
        lambda policy: f"a noise multiplier of at least {policy.privacy.min_noise_multiplier:g}",
        lambda study: f"{_noise(study):g} over {planned_steps(study)} steps",
        lambda policy, study: study.privacy.mode == "off" or _noise(study) >= policy.privacy.min_noise_multiplier,
        "Lower privacy.epsilon or take more steps in the study.",
    ),
    Rule(
        "aggregation.min_cohort",
        lambda policy: f"sums over at least {policy.aggregation.min_cohort} hospitals",
        lambda study: f"federation.min_sites = {study.federation.min_sites}",
        lambda policy, study: study.federation.min_sites >= policy.aggregation.min_cohort,
        "Raise federation.min_sites in the study.",
    ),
    Rule(
        "aggregation.adversary",
        lambda policy: _masks(policy.aggregation.adversary),
        lambda study: f'aggregation.adversary = "{study.aggregation.adversary}"',
        lambda policy, study: (
            ADVERSARIES.index(study.aggregation.adversary) >= ADVERSARIES.index(policy.aggregation.adversary)
        ),
        'Set aggregation.adversary = "active" in the study.',
    ),
    Rule(
        "evaluation.noise",
        lambda policy: "noise on evaluations" if policy.evaluation.noise else "evaluations with or without noise",
        lambda study: f"evaluation.epsilon = {study.evaluation.epsilon or 'none'}",
        lambda policy, study: not policy.evaluation.noise or study.evaluation.epsilon is not None,
        "Set evaluation.epsilon and evaluation.delta in the study.",
    ),
    Rule(
        "aggregation.colluders",
        lambda policy: f"masks that hold though {policy.aggregation.colluders} hospitals work with the coordinator",
        lambda study: f"aggregation.colluders = {study.aggregation.colluders}",
        lambda policy, study: study.aggregation.colluders >= policy.aggregation.colluders,
        "Raise aggregation.colluders in the study.",
    ),
)


def findings(policy: Policy, study: Study) -> tuple[Finding, ...]:
    """Every rule held against `study`, in the order they are judged."""
    return tuple(
        Finding(rule.key, rule.demand(policy), rule.brings(study), rule.holds(policy, study), rule.change)
        for rule in RULES
    )


def judge(policy: Policy, study: Study) -> None:
    """Raise RefusalError for the first rule that `study` breaks; return if there is none."""
    for found in findings(policy, study):
        if not found.holds:
            raise RefusalError(
                "this hospital's policy",
                rule=found.rule,
                expected=found.demands,
                got=found.brings,
                do=found.change,
            )


def judge_cohort(policy: Policy, sites: Sequence[str], what: str, *, error: type[RefusalError] = PassingError) -> None:
    """Raise `error` where `sites` (`what`: a cohort, survivors, the roster) are fewer than the policy demands or lack a
    named peer. Another round may have them, so for a cohort the refusal may pass."""
    rules, least = policy.aggregation, policy.aggregation.min_cohort
    if len(sites) < least:
        raise error(
            what,
            rule="aggregation.min_cohort",
            expected=f"at least {least} sites",
            got=f"{len(sites)}",
            do="Ask again with more hospitals.",
        )
    missing = [peer for peer in rules.peers if peer not in sites]
    if missing:
        raise error(
            what,
            rule="aggregation.peers",
            expected=f"{', '.join(missing)} in it",
            got="none of that name",
            do="Ask again with that hospital.",
        )


def judge_peer_keys(policy: Policy, roster: Roster) -> None:
    """Raise RefusalError where `roster` gives a pinned peer another key, or lacks it."""
    listed = {entry.name: entry.identity.hex() for entry in roster.entries}
    for name, pinned in policy.aggregation.peer_keys.items():
        found = listed.get(name)
        if found != pinned:
            raise RefusalError(
                "roster",
                rule="aggregation.peer_keys",
                expected=f"{name} with the key that this hospital pinned",
                got="another key" if found else "none of that name",
                do=f"Ask again under a roster with that key, or once {name} has told this hospital its new one.",
            )


def judge_hours(policy: Policy, now: datetime) -> None:
    """Raise PassingError if `now`, by this host's clock, is in the policy's quiet hours."""
    end = quiet_until(policy.hours, now)
    if end:
        zone = f" {policy.hours.zone}" if policy.hours.zone else ", this hospital's time"
        raise PassingError(
            "quiet hours",
            rule="hours.quiet",
            expected=f"no new round before {end}{zone}",
            got="one",
            do="Ask again then; nothing need be changed.",
        )
