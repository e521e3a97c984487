"""The plan of one aggregate, and everything a site refuses in it (PROTOCOL.md, step 1 and "Refusals").

Guarantees: `Plan.digest()` binds run, study, roster, round, attempt, step, payload, mode, cohort with every
member's signed join record, threshold, quantiser and length. Every key and signature of the aggregate is
derived from it, so two sites with different plans share no mask. `check_plan` returns a `Seat` only if every
rule below holds; else it raises PeerError and nothing has been done.

The caller of `check_plan` (a site) still owes, because they need its disk: the plan is newer than the last it
answered in this run, and a plan it has answered gets the same stored bytes.

Member number k is the k-th of `plan.cohort`, which is sorted by site name.
"""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal

from msgspec import Meta

from shared.crypto.roster import Key, Roster
from shared.errors import PeerError
from shared.secagg.joining import JoinRecord, RunName, check_join
from shared.wire import Record, digest

PLAN_LABEL = "konsil/plan/v1"

Natural = Annotated[int, Meta(ge=0)]


class Plan(Record, frozen=True):
    """What the coordinator asks of the cohort. `payload`: digest of what came with it (the model), 32 bytes.

    `quantizer`: the encoding of how floats became integers (`pack(Quantizer)`; empty for counts).
    `threshold`: t, how many must answer to unmask. `length`: uint32 words of the vector.
    """

    run: RunName
    study_hash: Key
    roster_hash: Key
    round: Natural
    attempt: Natural
    step: Literal["train", "evaluate", "survey"]
    payload: Key
    cohort: tuple[JoinRecord, ...]
    threshold: Annotated[int, Meta(ge=2)]
    quantizer: bytes
    length: Annotated[int, Meta(ge=1, le=2**28)]
    #: active mode (PROTOCOL.md, step 2) will be the second value here
    adversary: Literal["semi-honest"] = "semi-honest"

    def digest(self) -> bytes:
        """32 bytes: *plan* of PROTOCOL.md."""
        return digest(PLAN_LABEL, self)

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
    """A site's place in a plan that `check_plan` found in order. Only `check_plan` makes one."""

    plan: Plan
    digest: bytes
    own: JoinRecord

    @property
    def number(self) -> int:
        """The site's number in the cohort, from 0."""
        return self.plan.cohort.index(self.own)


def threshold_for(sites: int, fraction: float) -> int:
    """t for a cohort of `sites` from the study's `aggregation.threshold`: always a majority, at least 2."""
    return max(2, sites // 2 + 1, ceil(sites * fraction - 1e-9))


def check_cohort(plan: Plan, roster: Roster) -> None:
    """Raise PeerError unless any party may use `plan`: signed, distinct, sorted members and a majority t."""
    sites = plan.sites()
    if list(sites) != sorted(set(sites)):
        raise PeerError("cohort", expected="each site once, sorted by name", got=f"{len(sites)} in disorder")
    # Below a majority, a coordinator could unmask two disjoint survivor sets of one plan.
    if not (2 <= plan.threshold <= len(sites) < 2 * plan.threshold):
        raise PeerError(
            "threshold", expected=f"2 or more, a majority of the {len(sites)} sites", got=f"{plan.threshold}"
        )
    for record in plan.cohort:
        check_join(record, roster, run=plan.run, study_hash=plan.study_hash, roster_hash=plan.roster_hash)
    keys = [record.public_key for record in plan.cohort]
    if len(set(keys)) != len(keys):
        twice = ", ".join(record.site for record in plan.cohort if keys.count(record.public_key) > 1)
        raise PeerError("cohort", expected="a run key of its own for each site", got=f"one key for {twice}")


def check_plan(
    plan: Plan,
    own: JoinRecord,
    roster: Roster,
    rules: SiteRules,
    *,
    step: str,
    payload: bytes,
    length: int,
    quantizer: bytes,
) -> Seat:
    """The seat of the site that joined by `own`, or PeerError.

    `step`, `payload` (digest of the model the site received), `length` and `quantizer` are what the site
    itself derived from the study and the message; `roster` came out of `open_roster`.
    """
    bound = (plan.run, plan.study_hash, plan.roster_hash)
    if bound != (own.run, own.study_hash, own.roster_hash):
        raise PeerError("plan", expected=f"run {own.run!r} as joined", got=f"run {plan.run!r} or another study")
    _expect("step", step, plan.step)
    _expect("payload digest", payload.hex()[:16], plan.payload.hex()[:16], same=payload == plan.payload)
    _expect("vector length", str(length), str(plan.length))
    _expect("quantizer", "the study's", "another", same=quantizer == plan.quantizer)
    check_cohort(plan, roster)
    if own not in plan.cohort:
        raise PeerError("cohort", expected=f"{own.site} with the run key it joined by", got="none")
    check_rules(rules, plan.sites(), rules.min_cohort, "cohort")
    if plan.threshold < rules.min_threshold:
        raise PeerError("threshold", expected=f"at least {rules.min_threshold}", got=f"{plan.threshold}")
    return Seat(plan=plan, digest=plan.digest(), own=own)


def check_rules(rules: SiteRules, sites: tuple[str, ...], least: int, what: str) -> None:
    """Raise PeerError where a cohort or survivor set (`what`) is below a site's demands."""
    if len(sites) < least:
        raise PeerError(what, expected=f"at least {least} sites", got=f"{len(sites)}")
    missing = [peer for peer in rules.named_peers if peer not in sites]
    if missing:
        raise PeerError(what, expected=f"{', '.join(missing)} in it", got="none of that name")


def _expect(what: str, expected: str, got: str, *, same: bool | None = None) -> None:
    if not (expected == got if same is None else same):
        raise PeerError(f"plan's {what}", expected=expected, got=got)
