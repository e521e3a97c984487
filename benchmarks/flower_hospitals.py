"""The attacks on Flower's SecAgg+, tried against real Konsil hospitals by a coordinator that holds the operator's key.

Where Konsil has no such message, the nearest thing that it has is tried; the words say what.
"""

import functools

import msgspec
from flower_rehearsals import weight_in_the_sum
from flower_ward import Here, Ward, judged, relayed, said
from msgspec.structs import replace

from shared.messages.replies import Answered, AnyReply, Contributed, Refused
from shared.messages.requests import Step, Unmask
from shared.messages.tasks import Task
from shared.secagg.messages import ConfirmRequest
from shared.secagg.plan import Plan
from shared.wire import pack
from simulations.attacker import SURVEY, Attacker
from simulations.plan_attacks import LOW_ORDER, PLANS, colluding_key
from simulations.strikes import COLLUDER, NAMES, PEER, VICTIM, ask_confirm, honest
from simulations.unmask_attacks import UNMASKS, only

# Both secrets of one node


def alive_and_dead(ward: Ward) -> Here:
    """A request has one list; a second one is tried as a field more, then as a second request."""
    attacker = ward.attacker()
    request = msgspec.msgpack.decode(pack(honest(attacker)))
    both = msgspec.msgpack.encode(request | {"dropped": [PEER]})
    second, _ = ward.try_one("second U or second unmask for a plan", "unmask U1, unmask U2")
    return judged(
        {
            "one list more": attacker.say(VICTIM, Unmask(request=both)),
            "a second request without the peer": second,
        }
    )


def one_survivor(ward: Ward) -> Here:
    attacker = ward.attacker()
    request = honest(attacker)
    twice = only(VICTIM, VICTIM)(attacker, VICTIM, request)
    return judged({"t times itself": attacker.ask_unmask(VICTIM, twice)})


# Any threshold


def threshold_one(ward: Ward) -> Here:
    attacker = ward.attacker()
    task = attacker.train_task()
    plan = attacker.plan(task)
    alone = replace(plan, cohort=(attacker.records[VICTIM],))
    replies = {f"t = {t}": attacker.step(VICTIM, task, replace(plan, threshold=t)) for t in (1, 0, -1)}
    return judged(replies | {"alone in its cohort": attacker.step(VICTIM, task, alone)})


# No signatures


def _colluding_keys(ward: Ward, keys: dict[str, bytes]) -> Here:
    """Run keys that a colluding hospital truly signs."""
    attacker = ward.attacker()
    task = attacker.train_task()
    plan = attacker.plan(task)
    replies = {}
    for what, key in keys.items():
        hostile = colluding_key(functools.partial(_always, key))(attacker, VICTIM, plan)
        replies[what] = attacker.step(VICTIM, task, hostile)
    return judged(replies)


def _always(key: bytes, _plan: Plan, _site: str) -> bytes:
    return key


def bad_keys(ward: Ward) -> Here:
    return _colluding_keys(
        ward,
        {
            "the point 0": LOW_ORDER,
            "the point 1": bytes([1, *bytes(31)]),
            "2^256 − 1": b"\xff" * 32,
            "31 bytes": bytes(31),
            "none": b"",
        },
    )


def same_key_rewritten(ward: Ward) -> Here:
    """X25519 leaves the top bit unread, so a key has a second spelling."""
    peers = ward.attacker().records[PEER].public_key
    return _colluding_keys(
        ward, {"the peer's with its top bit set": peers[:-1] + bytes([peers[-1] | 128]), "a byte more": peers + b"\n"}
    )


def changed_bundles(ward: Ward) -> Here:
    attacker = ward.attacker()
    request = honest(attacker)
    names = ("a bundle cut short", "bundles in another order", "one bundle twice")
    found = judged({name: attacker.ask_unmask(VICTIM, UNMASKS[name](attacker, VICTIM, request)) for name in names})
    after = attacker.ask_unmask(VICTIM, request)
    taken = "is then answered" if isinstance(after, Answered) else f"then: {said(after)}"
    return Here(f"{found.gained}; the honest request {taken}", found.works)


# No consistency check


def weights_zeroed(ward: Ward) -> Here:
    """Peers joined the same run under a study with another `max_images`."""
    attacker = Attacker(ward.local.federation, dict(ward.sites), ward.study, f"attacked-{next(ward.runs)}")
    other = Attacker(attacker.federation, attacker.sites, ward.changed("federation", max_images=10**6), attacker.run)
    for one, names in ((attacker, (VICTIM,)), (other, (PEER, COLLUDER))):
        one.sites = {name: ward.sites[name] for name in names}
        one.join_all()
    attacker.records |= other.records
    task = attacker.train_task()
    return judged({"a study of their own for the others": attacker.step(VICTIM, task, attacker.plan(task))})


def modulus_two(ward: Ward) -> Here:
    """The nearest that a plan has: bits of a word, and the range."""
    attacker = ward.attacker()
    task = attacker.train_task()
    plan = attacker.plan(task)
    replies = {f"words of {bits} bits": attacker.step(VICTIM, task, replace(plan, bits=bits)) for bits in (1, 16)}
    coarse = PLANS["a quantizer not the study's"](attacker, VICTIM, plan)
    return judged(replies | {"another range": attacker.step(VICTIM, task, coarse)})


def different_models(ward: Ward) -> Here:
    """The victim answered the plan of one model, the others that of another: neither plan can be unmasked with it."""
    attacker = ward.attacker()
    mine = attacker.train_task()
    theirs = attacker.train_task(weights=memoryview((attacker.weights + 1).tobytes()))
    plan = attacker.plan(mine)
    attacker.step(VICTIM, mine, plan)
    closed = attacker.contributions(theirs, attacker.plan(theirs), (PEER, COLLUDER))
    return judged(
        {
            "confirm the others' plan": ask_confirm(attacker, closed.digest, NAMES),
            "its own plan for it alone": ask_confirm(attacker, plan.digest(), (VICTIM,)),
            "a peer is to confirm the victim's plan": attacker.ask_confirm(
                PEER, ConfirmRequest(plan=plan.digest(), site=PEER, survivors=NAMES)
            ),
        }
    )


def unmasked_type(ward: Ward) -> Here:
    """Under other message types than "train"."""
    attacker = ward.attacker()
    task = attacker.train_task()
    request = attacker.request(Step(plan=attacker.plan(task), payload=memoryview(pack(Task(body=task)))))
    masked, found = ward.sites[VICTIM].handle(request), {}
    for kind in ("train.default", "evaluate", "query"):
        try:
            reply, _ = relayed(ward, request, kind)
            found[kind] = "the same masked bytes as to train" if reply == masked else "other bytes"
        except ValueError as error:
            found[kind] = type(error).__name__
    works = "other bytes" in found.values()
    told = "; ".join(f"{kind}: {what}" for kind, what in found.items())
    return Here(f"{'taken' if works else 'nothing'}. {told}", works)


# No binding to run and round


def asked_twice(ward: Ward) -> Here:
    attacker = ward.attacker()
    plan = attacker.plan(SURVEY)
    request = honest(attacker, confirmers=NAMES)

    def ask() -> list[AnyReply]:
        step = attacker.step(VICTIM, SURVEY, plan)
        return [step, ask_confirm(attacker, request.plan, NAMES), attacker.ask_unmask(VICTIM, request)]

    first, second = ask(), ask()
    same = first == second and not any(isinstance(reply, Refused) for reply in first)
    return Here("nothing. each of the three steps gives its stored bytes again" if same else "other answers", not same)


# Weights


def examples_in_the_clear(ward: Ward) -> Here:
    """What stands in the clear beside a masked survey, by default and where the hospital's own policy shows it."""
    shown = {}
    for told, more in (("by default", ""), ("where its policy says so", "[evaluation]\nper_site_counts = true\n")):
        attacker = ward.attacker()
        ward.policy(VICTIM, more=more)
        reply = attacker.step(VICTIM, SURVEY)
        counts = reply.shown.counts if isinstance(reply, Contributed) else None
        shown[told] = counts and counts["used"]
    default, asked = shown.values()
    first = "nothing by default" if default is None else f"{default} images by default"
    return Here(
        f"{first}; {asked} images of alder where its own policy sets evaluation.per_site_counts", default is not None
    )


def weight_over_maximum(ward: Ward) -> Here:
    """The hospital's own weight; then what the coordinator makes of one that lies."""
    attacker = ward.attacker(ward.changed("federation", max_images=2))
    own = attacker.step(VICTIM, attacker.train_task())
    lies = {weight: weight_in_the_sum(weight) for weight in (3000, 2000)}
    told = ", ".join(f"{weight} {f'“{words}”' if words else 'taken'}" for weight, words in lies.items())
    works = not isinstance(own, Refused) or not all(lies.values())
    return Here(
        f"from hospitals that lie only. An honest one over max_images = 2 refuses: “{said(own)}”. A false weight beside"
        f" two of 1, where each may be 1000: {told}",
        works,
    )
