"""Whole attacks by a lying coordinator (attacker.py) on one hospital, VICTIM, after vectors were masked.

Each strike takes an attacker whose run all have joined, does what must come before, sends the hostile message last and
returns what the victim answers. COLLUDER signs whatever the attack needs.
"""

from collections.abc import Callable

from msgspec.structs import replace

from shared.messages.replies import AnyReply
from shared.messages.requests import Confirm, Unmask
from shared.secagg.messages import ConfirmRequest, UnmaskRequest
from shared.wire import unpack
from simulations.attacker import SURVEY, Attacker
from simulations.invitation_attacks import other_roster, under
from simulations.plan_attacks import without_the_site
from simulations.unmask_attacks import confirmation, signed

VICTIM, PEER, COLLUDER = NAMES = ("alder", "birch", "cedar")
TWO = (VICTIM, COLLUDER)

Strike = Callable[[Attacker], AnyReply]


def honest(
    attacker: Attacker, *, round_: int = 1, attempt: int = 1, confirmers: tuple[str, ...] = (PEER, COLLUDER)
) -> UnmaskRequest:
    """The honest unmask request to the victim; nobody but `confirmers` was asked to confirm."""
    plan = attacker.plan(SURVEY, round_=round_, attempt=attempt)
    collector = attacker.settled(SURVEY, plan, NAMES, confirmers=confirmers)
    return unpack(UnmaskRequest, collector.request(VICTIM))


def ask_confirm(attacker: Attacker, plan: bytes, survivors: tuple[str, ...]) -> AnyReply:
    """Ask the victim to confirm `survivors`."""
    return attacker.ask_confirm(VICTIM, ConfirmRequest(plan=plan, site=VICTIM, survivors=survivors))


def over_two(attacker: Attacker, request: UnmaskRequest) -> UnmaskRequest:
    """`request` for the victim and the colluder alone, with the right bundle and the colluder's true signature."""
    return signed(attacker, replace(request, survivors=TWO, bundles=request.bundles[1:]), attacker.colluders)


# A second set of survivors for a plan


def confirm_then_confirm_others(attacker: Attacker) -> AnyReply:
    """The victim confirmed everybody; now it is asked to confirm two."""
    return ask_confirm(attacker, honest(attacker, confirmers=NAMES).plan, TWO)


def confirm_then_unmask_others(attacker: Attacker) -> AnyReply:
    """The victim confirmed two; now it is to unmask everybody, whom the others confirm."""
    plan = attacker.plan(SURVEY)
    whole = attacker.contributions(SURVEY, plan, NAMES)
    confirmation(attacker, VICTIM, plan.digest(), TWO)
    attacker.confirm(whole, (PEER, COLLUDER))
    return attacker.say(VICTIM, Unmask(request=whole.request(VICTIM)))


def unmask_then_unmask_others(attacker: Attacker) -> AnyReply:
    """The victim's answer for everybody is out; now for two."""
    request = honest(attacker)
    attacker.ask_unmask(VICTIM, request)
    return attacker.ask_unmask(VICTIM, over_two(attacker, request))


def unmask_then_confirm_others(attacker: Attacker) -> AnyReply:
    """The victim's answer for everybody is out; now it is asked to confirm two."""
    request = honest(attacker)
    attacker.ask_unmask(VICTIM, request)
    return ask_confirm(attacker, request.plan, TWO)


def unmask_others_unconfirmed(attacker: Attacker) -> AnyReply:
    """Peers confirmed everybody, the victim nobody: it is to unmask two, whom only the colluder signs."""
    return attacker.ask_unmask(VICTIM, over_two(attacker, honest(attacker)))


# Replays


def older_attempt(attacker: Attacker) -> AnyReply:
    """A plan below the newest attempt."""
    attacker.step(VICTIM, SURVEY, attacker.plan(SURVEY, attempt=5))
    return attacker.step(VICTIM, SURVEY, attacker.plan(SURVEY, attempt=4))


def older_round(attacker: Attacker) -> AnyReply:
    """A plan of a round before the newest."""
    attacker.step(VICTIM, SURVEY, attacker.plan(SURVEY, round_=2, attempt=5))
    return attacker.step(VICTIM, SURVEY, attacker.plan(SURVEY, round_=1, attempt=6))


def replaced(asks: Callable[[Attacker, UnmaskRequest], AnyReply]) -> Strike:
    """The victim has answered a later plan; then `asks` for something of the old one."""

    def strike(attacker: Attacker) -> AnyReply:
        old = honest(attacker)
        attacker.step(VICTIM, SURVEY, attacker.plan(SURVEY, attempt=2))
        return asks(attacker, old)

    return strike


def unmask_before_the_step(attacker: Attacker) -> AnyReply:
    """Steps in another order: a plan that only the others have answered yet."""
    collector = attacker.settled(SURVEY, attacker.plan(SURVEY), (PEER, COLLUDER))
    return attacker.ask_unmask(VICTIM, replace(unpack(UnmaskRequest, collector.request(PEER)), site=VICTIM))


def borrowed(part: str, source: Callable[[Attacker], UnmaskRequest]) -> Strike:
    """The honest request, with its `bundles` or `confirmations` those of another honest one."""

    def strike(attacker: Attacker) -> AnyReply:
        other = getattr(source(attacker), part)
        return attacker.ask_unmask(VICTIM, replace(honest(attacker, attempt=9), **{part: other}))

    return strike


def another_run(attacker: Attacker) -> Attacker:
    """The same attacker in another run of the same study, joined by all."""
    name = f"{attacker.run}-2"
    return Attacker(attacker.federation, attacker.sites, attacker.study, name, colluders=attacker.colluders).join_all()


def records_of_another_run(attacker: Attacker) -> AnyReply:
    """A plan of this run with the peers' true records of another."""
    task, others = attacker.train_task(), another_run(attacker).records
    plan = attacker.plan(task)
    cohort = tuple(record if record.site == VICTIM else others[record.site] for record in plan.cohort)
    return attacker.step(VICTIM, task, replace(plan, cohort=cohort))


# Bundles, models, policies


def bundle_of_the_lost(attacker: Attacker) -> AnyReply:
    """The victim has confirmed that the peer is lost; but the peer's bundle comes in the colluder's place."""
    request = honest(attacker)
    two = replace(request, survivors=TWO, bundles=request.bundles[:1])
    return attacker.ask_unmask(VICTIM, signed(attacker, two, TWO))


def another_model(attacker: Attacker) -> AnyReply:
    """Others were given another model; the victim is asked to confirm their plan instead of its own."""
    mine = attacker.evaluate_task(1)
    theirs = replace(mine, weights=memoryview((attacker.weights + 1).tobytes()))
    attacker.step(VICTIM, mine, attacker.plan(mine))
    closed = attacker.contributions(theirs, attacker.plan(theirs), (PEER, COLLUDER))
    return ask_confirm(attacker, closed.digest, NAMES)


def older_roster(attacker: Attacker) -> AnyReply:
    """A roster from before the one the victim knows, truly signed by the root."""
    return attacker.say(VICTIM, under(attacker, other_roster(attacker, version=attacker.federation.roster.version - 1)))


def two_survivors(attacker: Attacker) -> AnyReply:
    """Two survivors, enough for the plan."""
    plan = attacker.plan(SURVEY)
    attacker.contributions(SURVEY, plan, NAMES)
    return attacker.say(VICTIM, Confirm(request=attacker.contributions(SURVEY, plan, TWO).ask_confirm(VICTIM)))


def cohort_of_two(attacker: Attacker) -> AnyReply:
    """A cohort of the victim and the colluder."""
    task = attacker.train_task()
    return attacker.step(VICTIM, task, without_the_site(attacker, PEER, attacker.plan(task)))


def study_with(**aggregation: object) -> Strike:
    """An invitation to the study with another [aggregation]."""

    def strike(attacker: Attacker) -> AnyReply:
        study = replace(attacker.study, aggregation=replace(attacker.study.aggregation, **aggregation))
        weaker = Attacker(attacker.federation, attacker.sites, study, run=f"{attacker.run}-weak")
        return weaker.say(VICTIM, weaker.invitation)

    return strike
