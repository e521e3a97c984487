"""The plan of one aggregate, and everything a site refuses in it (PROTOCOL.md, step 1 and "Refusals").

Guarantees: `Plan.digest()` binds run, study, roster, round, attempt, cohort with every member's signed join record, and
all `Terms`. Every key and signature of the aggregate is derived from it, so two sites with different plans share no
mask. `check_plan` returns a `Seat` only if every rule below holds; else it raises PeerError and nothing has been done.

Threshold: 2 t > n + c, for n members of whom at most c collude with the coordinator. Two survivor sets of one plan that
both had t confirmations would share an honest member, and no honest member confirms two (member.py).

The caller of `check_plan` (a site) still owes, because they need its disk: the plan is newer than the last it
answered in this run, and a plan it has answered gets the same stored bytes.

Member number k is the k-th of `plan.cohort`, which is sorted by site name.
"""

from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from shared.crypto.roster import Key, Roster
from shared.errors import PeerError
from shared.secagg.joining import JoinRecord, RunName, check_join
from shared.secagg.packing import Bits, word_type
from shared.wire import Record, digest

PLAN_LABEL = "konsil/plan/v1"

#: What a database can hold.
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Terms(Record, frozen=True):
    """What a site derives by itself from the study, the task and the size of the cohort, and finds in the plan.

    `payload`: digest of what came with the plan (the model), 32 bytes. `threshold`: t, how many must answer to unmask;
    `colluders`: c, how many members may work with the coordinator. `quantizer`: the encoding of how floats became
    integers (`pack(Quantizer)`; empty without a vector). `counts`: 64-bit counts, the first of them 1; `length`: words
    of the vector beside them, of `bits` bits each.
    """

    step: Literal["train", "evaluate", "survey"]
    payload: Key
    threshold: Annotated[int, Meta(ge=2)]
    colluders: Natural
    #: "none": no masks, the vectors of this step are opened one by one (shared/open_sums.py)
    adversary: Literal["semi-honest", "active", "none"]
    quantizer: bytes
    counts: Annotated[int, Meta(ge=1, le=2**20)]
    length: Annotated[int, Meta(ge=0, le=2**28)]
    bits: Bits


class Plan(Terms, frozen=True):
    """What the coordinator asks of the cohort, in this round and attempt of a run."""

    run: RunName
    study_hash: Key
    roster_hash: Key
    round: Natural
    attempt: Natural
    cohort: Annotated[tuple[JoinRecord, ...], Meta(min_length=2)]

    def digest(self) -> bytes:
        """32 bytes: *plan* of PROTOCOL.md."""
        return digest(PLAN_LABEL, self)

    @property
    def dtype(self) -> np.dtype[np.uint32] | np.dtype[np.uint16]:
        """The type of a word before it is packed."""
        return word_type(self.bits)

    def sites(self) -> tuple[str, ...]:
        """The cohort's names, in order."""
        return tuple(record.site for record in self.cohort)


class SiteRules(Record, frozen=True):
    """What a site's own policy demands of every cohort and survivor set, beyond the plan's threshold."""

    min_cohort: int = 2
    min_survivors: int = 2
    min_threshold: int = 2
    named_peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seat:
    """A site's place in a plan that `check_plan` found in order. Only `check_plan` makes one.

    `identities`: the members' identity keys by cohort number, from the roster: who may confirm a survivor set.
    """

    plan: Plan
    digest: bytes
    own: JoinRecord
    identities: tuple[bytes, ...]

    @property
    def number(self) -> int:
        """The site's number in the cohort, from 0."""
        return self.plan.cohort.index(self.own)


def threshold_for(sites: int, fraction: float, colluders: int = 0) -> int:
    """t for a cohort of `sites`: the study's `aggregation.threshold` of them, and always more than (n + c) / 2.

    At least 2. More than `sites` where the colluders could be everybody: no plan is then possible.
    """
    return max(2, (sites + colluders) // 2 + 1, ceil(sites * fraction - 1e-9))


def check_cohort(plan: Plan, roster: Roster) -> None:
    """Raise PeerError unless any party may use `plan`: signed, distinct, sorted members and a threshold that holds."""
    sites = plan.sites()
    if list(sites) != sorted(set(sites)):
        raise PeerError("cohort", expected="each site once, sorted by name", got=f"{len(sites)} in disorder")
    if not (2 <= plan.threshold <= len(sites) and len(sites) + plan.colluders < 2 * plan.threshold):
        raise PeerError(
            "threshold",
            expected=f"more than ({len(sites)} sites + {plan.colluders} colluders) / 2, to {len(sites)}",
            got=f"{plan.threshold}",
        )
    for record in plan.cohort:
        check_join(record, roster, run=plan.run, study_hash=plan.study_hash, roster_hash=plan.roster_hash)
    keys = [record.public_key for record in plan.cohort]
    if len(set(keys)) != len(keys):
        twice = ", ".join(record.site for record in plan.cohort if keys.count(record.public_key) > 1)
        raise PeerError("cohort", expected="a run key of its own for each site", got=f"one key for {twice}")


def check_plan(plan: Plan, own: JoinRecord, roster: Roster, rules: SiteRules, terms: Terms) -> Seat:
    """The seat of the site that joined by `own`, or PeerError.

    `terms` are what the site itself derived from the study and the message; `roster` came out of `open_roster`.
    """
    bound = (plan.run, plan.study_hash, plan.roster_hash)
    if bound != (own.run, own.study_hash, own.roster_hash):
        raise PeerError("plan", expected=f"run {own.run!r} as joined", got=f"run {plan.run!r} or another study")
    for name in Terms.__struct_fields__:
        expected, got = getattr(terms, name), getattr(plan, name)
        if expected != got:
            raise PeerError(f"plan's {name.replace('_', ' ')}", expected=_shown(expected), got=_shown(got))
    check_cohort(plan, roster)
    if own not in plan.cohort:
        raise PeerError("cohort", expected=f"{own.site} with the run key it joined by", got="none")
    check_rules(rules, plan.sites(), rules.min_cohort, "cohort")
    if plan.threshold < rules.min_threshold:
        raise PeerError("threshold", expected=f"at least {rules.min_threshold}", got=f"{plan.threshold}")
    identities = tuple(roster.identity(site) for site in plan.sites())
    return Seat(plan=plan, digest=plan.digest(), own=own, identities=identities)


def check_rules(rules: SiteRules, sites: tuple[str, ...], least: int, what: str) -> None:
    """Raise PeerError where a cohort or survivor set (`what`) is below a site's demands."""
    if len(sites) < least:
        raise PeerError(what, expected=f"at least {least} sites", got=f"{len(sites)}")
    missing = [peer for peer in rules.named_peers if peer not in sites]
    if missing:
        raise PeerError(what, expected=f"{', '.join(missing)} in it", got="none of that name")


def _shown(value: object) -> str:
    """A term in a message: bytes by sixteen digits of their SHA-256."""
    return sha256(value).hexdigest()[:16] if isinstance(value, bytes) else str(value)
