"""What a lying coordinator (attacker.py) may try in PROTOCOL.md step 1: plans and tasks that a site must refuse.

A plan attack takes the honest plan and returns a hostile one; a task attack makes a task that the study does not ask.

    changed = PLANS["threshold below a majority"](attacker, "alder", attacker.plan(task))
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.messages.tasks import TrainTask
from shared.quantize import Quantizer
from shared.secagg.joining import JoinRecord, RunKey, join, new_run_key
from shared.secagg.plan import Plan
from shared.wire import pack, unpack
from simulations.attacker import Attacker, Weights

PlanAttack = Callable[[Attacker, str, Plan], Plan]
#: The point of order 1: X25519 with it gives zeros whatever the private half (RFC 7748, 6.1).
LOW_ORDER = bytes(32)


def _cohort(attacker: Attacker, plan: Plan, names: Sequence[str]) -> Plan:
    """`plan` over `names` with everything that hangs on their number put right."""
    return _sized(attacker, plan, tuple(attacker.records[name] for name in names))


def _sized(attacker: Attacker, plan: Plan, cohort: tuple[JoinRecord, ...]) -> Plan:
    terms = attacker.terms(attacker.train_task(), len(cohort))
    return replace(plan, cohort=cohort, threshold=terms.threshold, quantizer=terms.quantizer)


def without_the_site(attacker: Attacker, site: str, plan: Plan) -> Plan:
    """A cohort that the site asked is not in."""
    return _cohort(attacker, plan, [name for name in plan.sites() if name != site])


def _fake(plan: Plan, site: str) -> JoinRecord:
    """A join record under the name `site`, of keys that are all the attacker's own."""
    return join(
        new_run_key(),
        Identity.generate(),
        site=site,
        run=plan.run,
        study_hash=plan.study_hash,
        roster_hash=plan.roster_hash,
    )


def sybils(count: int) -> PlanAttack:
    """The site alone among `count` members that no roster lists and the attacker plays."""

    def attack(attacker: Attacker, site: str, plan: Plan) -> Plan:
        fakes = (_fake(plan, f"zelkova-{number}") for number in range(count))
        return _sized(attacker, plan, (attacker.records[site], *fakes))

    return attack


def forged_members(_attacker: Attacker, site: str, plan: Plan) -> Plan:
    """Every other member's run key replaced by one the attacker knows, under a signature of its own."""
    cohort = tuple(record if record.site == site else _fake(plan, record.site) for record in plan.cohort)
    return replace(plan, cohort=cohort)


def substituted_key(_attacker: Attacker, site: str, plan: Plan) -> Plan:
    """One peer's run key replaced by one the attacker knows; the peer's own signature stays."""
    peer = _peers(plan, site)[-1]
    return _instead(plan, replace(peer, public_key=new_run_key().public))


def colluding_key(public_key: Callable[[Plan, str], bytes]) -> PlanAttack:
    """A colluding peer lists, under its true signature, a run key that no honest hospital would."""

    def attack(attacker: Attacker, site: str, plan: Plan) -> Plan:
        return _instead(plan, _colluders(attacker, plan, public_key(plan, site)))

    return attack


def record_of_another_run(attacker: Attacker, _site: str, plan: Plan) -> Plan:
    """A colluding peer's join record, truly signed for another run."""
    return _instead(plan, _colluders(attacker, plan, new_run_key().public, run="another"))


def _colluders(attacker: Attacker, plan: Plan, public_key: bytes, *, run: str | None = None) -> JoinRecord:
    """A join record with `public_key` that the first colluder signs."""
    name, home = next(iter(attacker.colluders.items()))
    return join(
        RunKey(private=b"", public=public_key),
        home.identity,
        site=name,
        run=run or plan.run,
        study_hash=plan.study_hash,
        roster_hash=plan.roster_hash,
    )


def _instead(plan: Plan, record: JoinRecord) -> Plan:
    """`plan` with `record` in the place of its site's."""
    return replace(plan, cohort=tuple(record if each.site == record.site else each for each in plan.cohort))


def _peers(plan: Plan, site: str) -> list[JoinRecord]:
    return [record for record in plan.cohort if record.site != site]


def _own_key(plan: Plan, site: str) -> bytes:
    return next(record.public_key for record in plan.cohort if record.site == site)


def member_twice(attacker: Attacker, _site: str, plan: Plan) -> Plan:
    """One peer listed twice, as if it were two."""
    return _sized(attacker, plan, (*plan.cohort, plan.cohort[-1]))


def members_in_disorder(_attacker: Attacker, _site: str, plan: Plan) -> Plan:
    """The cohort not sorted by name."""
    return replace(plan, cohort=plan.cohort[::-1])


def coarse_quantizer(_attacker: Attacker, _site: str, plan: Plan) -> Plan:
    """A range in which this site's update would show beside noise."""
    return replace(plan, quantizer=pack(replace(unpack(Quantizer, plan.quantizer), bound=1e6)))


def _with(**changes: object) -> PlanAttack:
    """The honest plan with fields of another value."""
    return lambda _attacker, _site, plan: replace(plan, **changes)


PLANS: Mapping[str, PlanAttack] = {
    "a run never joined": _with(run="never-joined"),
    "another study's hash": _with(study_hash=bytes(32)),
    "another roster's hash": _with(roster_hash=bytes(32)),
    "another step's name": _with(step="evaluate"),
    "a payload other than the plan's digest": _with(payload=bytes(32)),
    "a vector length not the model's": _with(length=7),
    "another number of counts": _with(counts=7),
    "no quantizer": _with(quantizer=b""),
    "a quantizer not the study's": coarse_quantizer,
    "threshold below a majority": _with(threshold=1),
    "another number of bits": _with(bits=16),
    "threshold above the cohort": _with(threshold=4),
    "threshold of another fraction": _with(threshold=3),
    "another number of colluders": _with(colluders=1),
    "a weaker adversary than the study's": _with(adversary="semi-honest"),
    "the site not in the cohort": without_the_site,
    "a member no roster lists": sybils(1),
    "sybils that no roster lists": sybils(2),
    "members with forged keys": forged_members,
    "a peer's run key replaced": substituted_key,
    "the site's own key listed for a peer": colluding_key(_own_key),
    "a peer's key listed twice": colluding_key(lambda plan, site: _peers(plan, site)[0].public_key),
    "a peer with a low-order key": colluding_key(lambda _plan, _site: LOW_ORDER),
    "a peer's record of another run": record_of_another_run,
    "a member twice": member_twice,
    "members in disorder": members_in_disorder,
    "an empty cohort": _with(cohort=()),
}

#: Tasks that the study does not ask for, and the round they come in.
TrainAttack = Callable[[Attacker], tuple[TrainTask, int]]


def _weights_of(attacker: Attacker, change: Callable[[Weights], Weights]) -> TrainTask:
    return attacker.train_task(weights=memoryview(change(attacker.weights).tobytes()))


def _poisoned(weights: Weights, value: float) -> Weights:
    weights[3] = value
    return weights


TASKS: Mapping[str, TrainAttack] = {
    "round 0": lambda a: (a.train_task(), 0),
    "a round after the last": lambda a: (a.train_task(), a.study.training.rounds + 1),
    "class weights not the study's": lambda a: (a.train_task(class_weights=(1e6, 1.0)), 1),
    "class weights that are no numbers": lambda a: (a.train_task(class_weights=(float("nan"), 1.0)), 1),
    "too few weights": lambda a: (_weights_of(a, lambda w: w[:-1]), 1),
    "too many weights": lambda a: (_weights_of(a, lambda w: np.append(w, w)), 1),
    "weights with a NaN": lambda a: (_weights_of(a, lambda w: _poisoned(w, np.nan)), 1),
    "weights with an infinity": lambda a: (_weights_of(a, lambda w: _poisoned(w, np.inf)), 1),
    "no weights at all": lambda a: (_weights_of(a, lambda w: w[:0]), 1),
}
