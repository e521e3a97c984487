"""policy.toml: the hospital decides. A study never overrides it, and what it does not allow is refused.

[privacy]      epsilon_total, epsilon_per_study, delta, min_noise_multiplier, least
[aggregation]  min_cohort, peers, peer_keys, adversary, colluders
[evaluation]   per_site_figures, per_site_counts, smallest_count, noise
[studies]      ask, hashes, models, signers
[hours]        quiet, days, zone

What is left out has the value that the classes below give it; an unknown key is refused by name (client/rules.py).

    >>> Policy().privacy.least
    'distributed'
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from client.hours import HoursPolicy
from client.ledger import Limits
from shared.crypto.roster import SiteName
from shared.toml import read_toml
from shared.wire import Record

__all__ = [
    "AggregationPolicy",
    "EvaluationPolicy",
    "HoursPolicy",
    "Policy",
    "PrivacyPolicy",
    "StudiesPolicy",
    "read_policy",
]

Positive = Annotated[float, Meta(gt=0)]
#: 32 bytes in lower-case hexadecimal
Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
#: Keys of former versions, and what to write in their place.
_RENAMED = {"privacy.allow_off": 'It is privacy.least now: for true write least = "off", for false delete it.'}


class PrivacyPolicy(Record, frozen=True):
    """The most ε at `delta` per patient, in all and per study; the least noise; the least mode of privacy: "local"
    takes no other hospital's word, "distributed" rests on the noise of others too, "off" is for images that may be
    public."""

    epsilon_total: Positive = 8.0
    epsilon_per_study: Positive = 8.0
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-5
    min_noise_multiplier: Annotated[float, Meta(ge=0)] = 0.0
    least: Literal["off", "distributed", "local"] = "distributed"


class AggregationPolicy(Record, frozen=True):
    """The fewest hospitals whose sum may be revealed, peers without whom this hospital takes no part, peers whom every
    roster must list with this very identity key, the strongest coordinator that the protocol must hold against ("none":
    the coordinator may see this hospital's own update), and how many hospitals may work with it."""

    min_cohort: Annotated[int, Meta(ge=2)] = 3
    peers: tuple[str, ...] = ()
    peer_keys: dict[SiteName, Hex] = field(default_factory=dict)
    adversary: Literal["none", "semi-honest", "active"] = "active"
    colluders: Annotated[int, Meta(ge=0)] = 1


class EvaluationPolicy(Record, frozen=True):
    """Whether this hospital's own figures, and its own image counts (with them ε in total over all studies), may be
    shown; the fewest patients on whom a count of a label or of a brightness rests that enters the survey's masked sum
    as it is and not as 0; whether evaluations must carry noise (`evaluation.epsilon` of the study)."""

    per_site_figures: bool = False
    per_site_counts: bool = False
    smallest_count: Annotated[int, Meta(ge=1)] = 5
    noise: bool = False


class StudiesPolicy(Record, frozen=True):
    """Which studies need nobody's approval: by study hash, by name of their model, by the key that signed them.

    `ask = false`: none needs it. One of the lists and `ask = false` contradict each other: the lists would say nothing.
    """

    ask: bool = True
    hashes: tuple[Hex, ...] = ()
    models: tuple[str, ...] = ()
    signers: tuple[Hex, ...] = ()

    def __post_init__(self) -> None:
        if not self.ask and (self.hashes or self.models or self.signers):
            raise ValueError("either ask = false, or lists of what needs no approval")


class Policy(Record, frozen=True):
    """The whole of policy.toml."""

    privacy: PrivacyPolicy = PrivacyPolicy()
    aggregation: AggregationPolicy = AggregationPolicy()
    evaluation: EvaluationPolicy = EvaluationPolicy()
    studies: StudiesPolicy = StudiesPolicy()
    hours: HoursPolicy = HoursPolicy()

    @property
    def limits(self) -> Limits:
        """What the ledger holds every round against."""
        return Limits(self.privacy.epsilon_total, self.privacy.epsilon_per_study, self.privacy.delta)


def read_policy(path: Path) -> Policy:
    """policy.toml; raises InputError naming the key that is wrong."""
    return read_toml(Policy, path, renamed=_RENAMED)
