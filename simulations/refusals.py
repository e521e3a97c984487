"""PROTOCOL.md's list of refusals, and for each what a lying coordinator does to provoke it at a real hospital.

answer = REFUSALS["i ∉ U"]["confirm survivors without the site"].strike(attacker)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.messages.replies import AnyReply, Refused
from shared.secagg.messages import ConfirmRequest
from shared.wire import unpack
from simulations import strikes
from simulations.attacker import SURVEY, Attacker
from simulations.invitation_attacks import INVITATIONS
from simulations.mixed_views import NOTHING, Gained
from simulations.plan_attacks import PLANS, TASKS
from simulations.strikes import NAMES, VICTIM, Strike, borrowed, honest
from simulations.unmask_attacks import CONFIRMATIONS, CONFIRMS, UNMASKS


@dataclass(frozen=True)
class Attempt:
    """`strike` ends in the hostile message; the victim's refusal says `got`. `policy`: a line of the victim's
    [aggregation] in the place of what lets the study in."""

    strike: Strike
    got: str
    policy: str = ""


def tried(name: str, attempt: Attempt, attacker: Attacker) -> tuple[AnyReply, Gained]:
    """What the victim answers to `attempt`, and what that is worth to the coordinator."""
    reply = attempt.strike(attacker)
    gained = NOTHING if isinstance(reply, Refused) else f"a {type(reply).__name__} message"
    return reply, Gained(name, gained, gained != NOTHING)


def _plan(name: str, got: str) -> Attempt:
    """A hostile plan of training; nothing happened before."""

    def strike(attacker: Attacker) -> AnyReply:
        task = attacker.train_task()
        return attacker.step(VICTIM, task, PLANS[name](attacker, VICTIM, attacker.plan(task)))

    return Attempt(strike, got)


def _task(name: str, got: str) -> Attempt:
    def strike(attacker: Attacker) -> AnyReply:
        task, round_ = TASKS[name](attacker)
        return attacker.step(VICTIM, task, attacker.plan(task, round_=round_))

    return Attempt(strike, got)


def _invitation(name: str, got: str) -> Attempt:
    return Attempt(lambda attacker: attacker.say(VICTIM, INVITATIONS[name](attacker, VICTIM)), got)


def _confirm(name: str, got: str) -> Attempt:
    """A hostile confirm request; all have contributed."""

    def strike(attacker: Attacker) -> AnyReply:
        closed = attacker.contributions(SURVEY, attacker.plan(SURVEY), NAMES)
        honest = unpack(ConfirmRequest, closed.ask_confirm(VICTIM))
        return attacker.ask_confirm(VICTIM, CONFIRMS[name](attacker, VICTIM, honest))

    return Attempt(strike, got)


def _unmask(name: str, got: str) -> Attempt:
    """A hostile unmask request; the others have confirmed the honest survivors, enough of them."""

    def strike(attacker: Attacker) -> AnyReply:
        hostile = {**UNMASKS, **CONFIRMATIONS}[name]
        return attacker.ask_unmask(VICTIM, hostile(attacker, VICTIM, honest(attacker)))

    return Attempt(strike, got)


#: By the names of PROTOCOL.md's list.
REFUSALS: Mapping[str, Mapping[str, Attempt]] = {
    "unknown or unsigned identity": {
        "a study somebody else signed": _invitation(
            "a study not signed by the roster's operator", "signature for konsil/study/v1"
        ),
        "sybils": _plan("sybils that no roster lists", "site 'zelkova-0'"),
        "one sybil": _plan("a member no roster lists", "site 'zelkova-0'"),
        "forged members": _plan("members with forged keys", "signature for konsil/join/v1"),
        "a peer's run key replaced": _plan("a peer's run key replaced", "signature for konsil/join/v1"),
        "confirmations by strangers": _unmask("signed by keys of no member", "signature for konsil/confirm/v1"),
        "one member's confirmation as everybody's": _unmask(
            "one member's signature in every place", "signature for konsil/confirm/v1"
        ),
    },
    "roster not signed by the pinned root, or older than the last seen": {
        "another root": _invitation("a roster signed by another root", "signature for konsil/roster/v1"),
        "an older roster": Attempt(strikes.older_roster, "expected version 2 or later, got 1"),
    },
    "cohort, U or t too small": {
        "a cohort of two": Attempt(strikes.cohort_of_two, "at least 3 sites, got 2", "min_cohort = 3"),
        "two survivors": Attempt(strikes.two_survivors, "at least 3 sites, got 2", "min_cohort = 3"),
        "t of one": _plan("threshold below a majority", "Expected `int` >= 2"),
        "t of another fraction": _plan("threshold of another fraction", "plan's threshold"),
        "confirm too few": _confirm("too few survivors", "at least 2 sites, got 1"),
        "confirm nobody": _confirm("no survivors", "alder in them"),
        "unmask too few": _unmask("too few survivors", "at least 2 sites, got 1"),
        "unmask without confirmations": _unmask("no confirmations", "3 places, one per survivor, got 0"),
        "empty confirmations": _unmask("empty confirmations", "confirmations: expected at least 2, got 0"),
        "too few confirmations": _unmask("too few confirmations", "confirmations: expected at least 2, got 1"),
        "a colluder for two views": Attempt(
            strikes.unmask_others_unconfirmed, "confirmations: expected at least 2, got 1"
        ),
    },
    "named peer missing": {
        "from the cohort": Attempt(strikes.cohort_of_two, "birch in it", 'peers = ["birch"]'),
        "from the survivors": Attempt(strikes.two_survivors, "birch in it", 'peers = ["birch"]'),
    },
    "i ∉ U": {
        "a cohort without the site": _plan("the site not in the cohort", "alder with the run key it joined by"),
        "confirm survivors without the site": _confirm("survivors without the site", "alder in them"),
        "unmask survivors without the site": _unmask("survivors without the site", "alder in them"),
    },
    "U ⊄ cohort": {
        "confirm an invented survivor": _confirm("a survivor who is not of the cohort", "members of the cohort"),
        "confirm a survivor twice": _confirm("a survivor twice", "members of the cohort, once, sorted"),
        "unmask an invented survivor": _unmask("a survivor who is not of the cohort", "members of the cohort"),
        "unmask a survivor twice": _unmask("a survivor twice", "members of the cohort, once, sorted"),
    },
    "second U or second unmask for a plan": {
        "confirm U1, confirm U2": Attempt(strikes.confirm_then_confirm_others, "the ones this site settled on"),
        "confirm U1, unmask U2": Attempt(strikes.confirm_then_unmask_others, "the ones this site settled on"),
        "unmask U1, unmask U2": Attempt(strikes.unmask_then_unmask_others, "the ones this site settled on"),
        "unmask U1, confirm U2": Attempt(strikes.unmask_then_confirm_others, "the ones this site settled on"),
    },
    "replayed, reordered or cross-run messages": {
        "an older attempt": Attempt(strikes.older_attempt, "an attempt after 5"),
        "an older round": Attempt(strikes.older_round, "round 2 or later"),
        "an old step": Attempt(
            strikes.replaced(lambda a, _: a.step(VICTIM, SURVEY)), "one that a later plan has replaced"
        ),
        "an old confirm request": Attempt(
            strikes.replaced(lambda a, old: strikes.ask_confirm(a, old.plan, NAMES)),
            "one that a later plan has replaced",
        ),
        "an old unmask request": Attempt(
            strikes.replaced(lambda a, old: a.ask_unmask(VICTIM, old)), "one that a later plan has replaced"
        ),
        "unmask before the step": Attempt(strikes.unmask_before_the_step, "a plan this site contributed to"),
        "a confirm request of no plan": _confirm("a plan nobody contributed to", "a plan this site contributed to"),
        "a peer's confirm request": _confirm("the request meant for a peer", "the stored plan and alder"),
        "a peer's unmask request": _unmask("the request meant for a peer", "the stored plan and alder"),
        "confirm survivors in disorder": _confirm("survivors in disorder", "once, sorted"),
        "confirmations in disorder": _unmask("confirmations in another order", "signature for konsil/confirm/v1"),
        "a confirmation of another plan": _unmask("a signature of another plan", "signature for konsil/confirm/v1"),
        "a confirmation of another U": _unmask("a signature over other survivors", "signature for konsil/confirm/v1"),
        "confirmations of another attempt": Attempt(
            borrowed("confirmations", honest), "signature for konsil/confirm/v1"
        ),
        "confirmations of another round": Attempt(
            borrowed("confirmations", lambda a: honest(a, round_=0)), "signature for konsil/confirm/v1"
        ),
        "confirmations of another run": Attempt(
            borrowed("confirmations", lambda a: honest(strikes.another_run(a))), "signature for konsil/confirm/v1"
        ),
        "bundles of another attempt": Attempt(borrowed("bundles", honest), "got a wrong tag"),
        "bundles of another run": Attempt(
            borrowed("bundles", lambda a: honest(strikes.another_run(a))), "got a wrong tag"
        ),
        "a run never joined": _plan("a run never joined", "a run this site has joined"),
        "members' records of another run": Attempt(strikes.records_of_another_run, "join record of birch"),
        "a study's signature of another run": _invitation(
            "a signature given for another run", "signature for konsil/study/v1"
        ),
    },
    "one's own public key or a peer's listed twice": {
        "one's own": _plan("the site's own key listed for a peer", "one key for alder, cedar"),
        "a peer's": _plan("a peer's key listed twice", "one key for birch, cedar"),
        "a peer twice": _plan("a member twice", "each site once"),
    },
    "low-order public key": {"a colluder's": _plan("a peer with a low-order key", "a point of high order")},
    "bundle not from a member of U": {
        "one of who is told lost": Attempt(strikes.bundle_of_the_lost, "bundle from cedar to alder"),
        "swapped": _unmask("bundles in another order", "got a wrong tag"),
        "twice": _unmask("one bundle twice", "got a wrong tag"),
        "cut short": _unmask("a bundle cut short", "got a wrong tag"),
        "empty": _unmask("an empty bundle", "at least 28 bytes"),
        "too few": _unmask("a bundle too few", "expected 2 bundles, got 1"),
        "too many": _unmask("a bundle too many", "expected 2 bundles, got 3"),
    },
    "vector length or quantiser not the study's": {
        "length": _plan("a vector length not the model's", "plan's length"),
        "counts": _plan("another number of counts", "plan's counts"),
        "bits": _plan("another number of bits", "plan's bits"),
        "range": _plan("a quantizer not the study's", "plan's quantizer"),
        "weights of another length": _task("too few weights", "finite numbers"),
    },
    "two sites given different models (their plans differ, so masks do not cancel)": {
        "confirm the others' plan": Attempt(strikes.another_model, "a plan this site contributed to"),
        "a payload other than the plan's": _plan("a payload other than the plan's digest", "plan's payload"),
    },
    "adversary mode weaker than the site's policy": {
        "a semi-honest study": Attempt(strikes.study_with(adversary="semi-honest"), 'a coordinator that is "active"'),
        "fewer colluders": Attempt(strikes.study_with(), "aggregation.colluders = 0", "colluders = 1"),
        "a plan weaker than its study": _plan("a weaker adversary than the study's", "plan's adversary"),
    },
}
