"""What a lying coordinator (attacker.py) may try before anything is masked: invitations, plans and tasks.

One function for each thing that PROTOCOL.md has sites refuse in steps 0 and 1; unmask_attacks.py has steps 2 and 3.

    changed = PLANS["threshold below a majority"](attacker, "alder", attacker.plan(task))
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from shared.crypto.identity import Identity
from shared.crypto.roster import Roster, RosterEntry, SignedRoster, sign_roster
from shared.messages import AnyReply, Join, SurveyTask, TrainTask
from shared.quantize import Quantizer
from shared.secagg.joining import JoinRecord, RunKey, join, new_run_key
from shared.secagg.plan import Plan
from shared.study import STUDY_LABEL, Study
from shared.wire import pack, unpack
from simulations.attacker import Attacker, Weights

# Step 0: invitations


def _signed(attacker: Attacker, signer: Identity, roster: SignedRoster) -> Join:
    signature = signer.sign(STUDY_LABEL, attacker.run.encode(), attacker.study)
    return Join(run=attacker.run, study=attacker.study, signature=signature, roster=roster)


def _root(attacker: Attacker) -> Identity:
    return attacker.federation.root_key()


def _operator(attacker: Attacker) -> Identity:
    return Identity.from_private_bytes((attacker.federation.path / "operator.key").read_bytes())


def unsigned_study(attacker: Attacker, _site: str) -> Join:
    """A study that somebody else than the roster's operator signed."""
    return _signed(attacker, Identity.generate(), attacker.federation.signed_roster)


def signature_of_another_run(attacker: Attacker, _site: str) -> Join:
    """The operator's own signature, given for another run."""
    return replace(attacker.federation.invitation("another", attacker.study), run=attacker.run)


def swapped_study(attacker: Attacker, _site: str) -> Join:
    """A signed invitation with its study changed afterwards."""
    softer = replace(attacker.study, training=replace(attacker.study.training, rounds=99))
    return replace(attacker.invitation, study=softer)


def foreign_root(attacker: Attacker, _site: str) -> Join:
    """A roster and an operator of the attacker's own making, consistent in themselves."""
    operator = Identity.generate()
    roster = replace(attacker.federation.roster, operator=operator.public, version=9)
    return _signed(attacker, operator, sign_roster(Identity.generate(), roster))


def other_roster(attacker: Attacker, **changes: object) -> SignedRoster:
    """The roster in force with `changes`, signed by the true root."""
    roster: Roster = replace(attacker.federation.roster, **changes)
    return sign_roster(_root(attacker), roster)


def expired_roster(attacker: Attacker, _site: str) -> Join:
    """A roster whose time is over."""
    return _signed(attacker, _operator(attacker), other_roster(attacker, valid_until=1_000_000, valid_from=0))


def site_not_listed(attacker: Attacker, site: str) -> Join:
    """A roster without the site that is asked."""
    entries = tuple(entry for entry in attacker.federation.roster.entries if entry.name != site)
    return _signed(attacker, _operator(attacker), other_roster(attacker, entries=entries))


def seat_of_another(attacker: Attacker, site: str) -> Join:
    """A roster that lists the site's name with somebody else's key."""
    entries = tuple(
        RosterEntry(name=entry.name, identity=Identity.generate().public) if entry.name == site else entry
        for entry in attacker.federation.roster.entries
    )
    return _signed(attacker, _operator(attacker), other_roster(attacker, entries=entries))


Invitation = Callable[[Attacker, str], Join]
INVITATIONS: Mapping[str, Invitation] = {
    "a study not signed by the roster's operator": unsigned_study,
    "a signature given for another run": signature_of_another_run,
    "a study changed after it was signed": swapped_study,
    "a roster signed by another root": foreign_root,
    "an expired roster": expired_roster,
    "a roster without the site": site_not_listed,
    "a roster with another key for the site": seat_of_another,
}


def under(attacker: Attacker, roster: SignedRoster) -> Join:
    """The operator's own invitation under another roster: one that was in force before, or a later one."""
    return _signed(attacker, _operator(attacker), roster)


def next_roster(attacker: Attacker, **changes: object) -> SignedRoster:
    """The roster after the one in force, with `changes`, signed by the true root; not put in force."""
    return other_roster(attacker, version=attacker.federation.roster.version + 1, **changes)


#: Studies that differ from an approved one in one place that a tired reader would miss.
STUDIES: Mapping[str, Callable[[Study], Study]] = {
    "one round more": lambda s: replace(s, training=replace(s.training, rounds=s.training.rounds + 1)),
    "a little more ε": lambda s: replace(s, privacy=replace(s.privacy, epsilon=(s.privacy.epsilon or 1.0) * 1.001)),
    "a larger clip": lambda s: replace(s, privacy=replace(s.privacy, clip=(s.privacy.clip or 1.0) * 2)),
    "another seed": lambda s: replace(s, training=replace(s.training, seed=s.training.seed + 1)),
    "longer updates": lambda s: replace(s, aggregation=replace(s.aggregation, update_norm=11.0)),
    "labels the other way round": lambda s: replace(s, task=replace(s.task, labels=s.task.labels[::-1])),
    "another option of the model": lambda s: replace(
        s, model=replace(s.model, options={**s.model.options, "hidden": 5})
    ),
    "another name": lambda s: replace(s, name=f"{s.name}-2"),
}


def flood(attacker: Attacker, site: str, count: int) -> list[AnyReply]:
    """So many different studies, each under the operator's true signature."""
    replies = []
    for number in range(count):
        other = Attacker(
            attacker.federation, attacker.sites, replace(attacker.study, name=f"flood-{number}"), run=f"flood-{number}"
        )
        replies.append(other.say(site, other.invitation))
    return replies


# Step 1: plans. Each takes the honest plan and returns a hostile one.

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


SURVEY = SurveyTask()
