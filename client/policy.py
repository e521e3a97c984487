"""policy.toml: the hospital decides. A study never overrides it, and what it does not allow is refused.

A rule is one small object that names itself as the key in policy.toml, so that a refusal tells the operator what the
study would have to change.

    >>> judge(Policy(privacy=PrivacyPolicy(allow_off=True)), parse_study(MINIMAL))
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from client.ledger import Limits
from shared.accounting import noise_multiplier, planned_steps
from shared.errors import RefusalError
from shared.study import MINIMAL, Study, parse_study
from shared.toml import read_toml
from shared.wire import Record

__all__ = ["MINIMAL", "AggregationPolicy", "EvaluationPolicy", "Policy", "PrivacyPolicy", "judge", "parse_study"]

Positive = Annotated[float, Meta(gt=0)]


class PrivacyPolicy(Record, frozen=True):
    """The most ε at `delta` per patient, in all and per study; the least noise; whether privacy may be off."""

    epsilon_total: Positive = 8.0
    epsilon_per_study: Positive = 8.0
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-5
    min_noise_multiplier: Annotated[float, Meta(ge=0)] = 0.0
    allow_off: bool = False


class AggregationPolicy(Record, frozen=True):
    """The fewest hospitals whose sum may be revealed, and peers without whom this hospital takes no part."""

    min_cohort: Annotated[int, Meta(ge=2)] = 3
    peers: tuple[str, ...] = ()


class EvaluationPolicy(Record, frozen=True):
    """Whether this hospital's own figures, and its own image counts, may be shown."""

    per_site_figures: bool = False
    per_site_counts: bool = False


class Policy(Record, frozen=True):
    """The whole of policy.toml; what is left out has the stricter value."""

    privacy: PrivacyPolicy = PrivacyPolicy()
    aggregation: AggregationPolicy = AggregationPolicy()
    evaluation: EvaluationPolicy = EvaluationPolicy()

    @property
    def limits(self) -> Limits:
        """What the ledger holds every round against."""
        return Limits(self.privacy.epsilon_total, self.privacy.epsilon_per_study, self.privacy.delta)


@dataclass(frozen=True)
class Rule:
    """`key` of policy.toml, what it demands, what the study brings, and whether that will do."""

    key: str
    demand: Callable[[Policy], str]
    brings: Callable[[Study], str]
    holds: Callable[[Policy, Study], bool]
    change: str


RULES = (
    Rule(
        "privacy.allow_off",
        lambda policy: "differential privacy" if not policy.privacy.allow_off else "any mode",
        lambda study: f'privacy.mode = "{study.privacy.mode}"',
        lambda policy, study: policy.privacy.allow_off or study.privacy.mode != "off",
        'Set privacy.mode = "local" in the study.',
    ),
    Rule(
        "privacy.delta",
        lambda policy: f"delta of at most {policy.privacy.delta:g}",
        lambda study: f"{study.privacy.delta or 0:g}",
        lambda policy, study: (study.privacy.delta or 0) <= policy.privacy.delta,
        "Lower privacy.delta in the study.",
    ),
    Rule(
        "privacy.min_noise_multiplier",
        lambda policy: f"a noise multiplier of at least {policy.privacy.min_noise_multiplier:g}",
        lambda study: f"{noise_multiplier(study) or 0:g} over {planned_steps(study)} steps",
        lambda policy, study: (
            study.privacy.mode == "off" or (noise_multiplier(study) or 0) >= policy.privacy.min_noise_multiplier
        ),
        "Lower privacy.epsilon or take more steps in the study.",
    ),
    Rule(
        "aggregation.min_cohort",
        lambda policy: f"sums over at least {policy.aggregation.min_cohort} hospitals",
        lambda study: f"federation.min_sites = {study.federation.min_sites}",
        lambda policy, study: study.federation.min_sites >= policy.aggregation.min_cohort,
        "Raise federation.min_sites in the study.",
    ),
)


def judge(policy: Policy, study: Study) -> None:
    """Raise RefusalError for the first rule that `study` breaks; return if there is none."""
    for rule in RULES:
        if not rule.holds(policy, study):
            raise RefusalError(
                "this hospital's policy",
                rule=rule.key,
                expected=rule.demand(policy),
                got=rule.brings(study),
                do=rule.change,
            )


def read_policy(path: Path) -> Policy:
    """policy.toml; raises InputError naming the key that is wrong."""
    return read_toml(Policy, path)
