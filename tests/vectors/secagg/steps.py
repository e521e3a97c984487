"""The files of whole messages: steps 1 to 3, whole aggregates, envelopes; and hostile ones of each."""

from collections.abc import Collection, Sequence
from typing import Any

from tests.vectors.secagg import primitives, records, words
from tests.vectors.secagg.packed import digest, pack
from tests.vectors.secagg.records import Message
from tests.vectors.secagg.scenes import FOUR, LATER, PAYLOAD, THREE, Scene, bad, key
from tests.vectors.secagg.second import Coordinator

File = dict[str, Any]
#: What a decoder says of another record, and of a signature that does not hold.
_SHAPE = "{} message: expected its declared fields"
_FORGED = "signature for konsil/{}/v1"


def _signed(
    message: Message, kind: str, *, vector: bytes = b"", by: str = "", label: str = "", **changes: Any
) -> bytes:
    """`message`, some fields changed, signed anew by its site, packed."""
    new = {**message, **changes}
    if kind == "contribution":
        parts = records.contribution_parts(new, vector)
    elif kind == "confirm":
        parts = [new["plan"], new["survivors"]]
    else:
        parts = records.answer_parts(new)
    signature = primitives.sign(key("identity", by or new["site"]), f"konsil/{label or kind}/v1", *parts)
    return pack({**new, "signature": signature})


def _misshapen(kind: str, message: Message) -> list[File]:
    """Encodings that are no such record."""
    words, first = _SHAPE.format(kind), next(iter(message))
    rest = {name: value for name, value in message.items() if name != "site"}
    return [
        bad("unknown field", words, data=pack({**message, "extra": 1})),
        bad("missing field", words, data=pack(rest)),
        bad("text instead of bytes", words, data=pack({**message, first: "x" * 32})),
        bad("trailing byte", words, data=pack(message) + b"\0"),
        bad("cut short", words, data=pack(message)[:-1]),
        bad("nested without end", words, data=b"\x81" + pack(first) + b"\x91" * 40),
    ]


# Step 1


def contribution_file() -> File:
    scenes = []
    for found in (FOUR, THREE):
        shown = found.shown()
        for row in shown["sites"]:
            _explain(found, row)
        scenes.append(shown)
    # a coordinator of THREE that has the first site's contribution gets these in place of the second's
    return {"scenes": scenes, "bad_scene": THREE.name, "bad": _bad_contributions(THREE)}


def _explain(found: Scene, row: File) -> None:
    """Everything that a site drew, derived and sent."""
    site = row["site"]
    drawn, member = found.randomness(site), found.members[site]
    message, vector = found.contributions[site]
    row["self_seed"] = drawn.self_seed
    row["coefficients"] = [[c.to_bytes(33, "big") for c in slot] for slot in drawn.coefficients]
    row["nonces"] = drawn.nonces
    row["pair_seeds"] = member.seeds
    row["packed_vector"] = vector
    row["contribution"] = pack(message)


def _bad_contributions(found: Scene) -> list[File]:
    first, second_site = list(found.vectors)[:2]
    message, vector = found.contributions[second_site]
    other, others = found.contributions[first]
    n, forged = len(found.vectors), _FORGED.format("contribution")

    def signed(vector: bytes = vector, **changes: Any) -> bytes:
        return _signed(message, "contribution", vector=vector, **changes)

    commitments, openers, bundles = message["commitments"], message["share_commitments"], message["bundles"]
    cases = [
        bad("signed with another label", forged, data=signed(label="answer")),
        bad("signed by another site", forged, data=signed(by=first)),
        bad("another vector than was signed", forged, data=pack(message), vector=others),
        bad("commitments swapped", forged, data=pack({**message, "commitments": commitments[32:] + commitments[:32]})),
        bad("bundles swapped", forged, data=pack({**message, "bundles": bundles[::-1]})),
        bad("another site's name", forged, data=pack({**message, "site": list(found.vectors)[2]})),
        bad("a second one", "expected one, got a second", data=pack(other), vector=others),
        bad("a stranger", "expected a member of the cohort, got zell", data=pack({**message, "site": "zell"})),
        bad("another plan", "message: expected plan", data=signed(plan=bytes(32))),
        bad("counts changed after signing", forged, data=pack({**message, "counts": bytes(16)})),
        bad("a count short", "expected 16 bytes, got 8 bytes", data=signed(counts=bytes(8))),
        bad(
            "another seed than its pair committed to",
            f"expected the pair seed that {first} has",
            data=signed(commitments=bytes(32) + commitments[32:]),
        ),
        bad("a commitment short", f"expected {32 * n} bytes", data=signed(commitments=commitments[32:])),
        bad(
            "a share commitment more",
            f"expected {16 * n * n} bytes",
            data=signed(share_commitments=openers + openers[:16]),
        ),
        bad("a bundle short", f"expected {n - 1}, got {n - 2}", data=signed(bundles=bundles[1:])),
        bad(
            "a bundle a byte short",
            f"expected {33 * n + 28} bytes",
            data=signed(bundles=[bundles[0][1:], *bundles[1:]]),
        ),
        bad("a vector a byte short", f"expected {len(vector)} bytes", data=signed(vector[:-1]), vector=vector[:-1]),
        bad(
            "a vector a byte longer",
            f"expected {len(vector)} bytes",
            data=signed(vector + b"\0"),
            vector=vector + b"\0",
        ),
    ]
    used = found.plan["length"] * found.plan["bits"] % 8
    if used:
        dirty = vector[:-1] + bytes([vector[-1] | 0x80])
        cases.append(
            bad("a padding bit set", f"expected zeros in the last {8 - used} bits", data=signed(dirty), vector=dirty)
        )
    cases += _misshapen("Contribution", message)
    return [{**case, "vector": case.get("vector", vector)} for case in cases]


# Steps 2 and 3


def confirm_file() -> File:
    """The plan is FOUR's, in active mode."""
    coordinator, members = FOUR.closed(), FOUR.members
    exchange = [
        {"site": s, "request": pack(request), "confirmation": pack(members[s].confirm(request))}
        for s, request in ((s, coordinator.confirm_request(s)) for s in coordinator.survivors)
    ]
    request = coordinator.confirm_request("alm")
    words = "expected members of the cohort, once, sorted"

    def asked(name: str, words: str, **changes: Any) -> File:
        return bad(name, words, data=pack({**request, **changes}))

    to_site = [
        asked("another plan", "expected a request for the stored plan and alm", plan=records.plan_digest(LATER.plan)),
        asked("for another site", "expected a request for the stored plan and alm", site="celle"),
        asked("fewer than t", "expected at least 3 sites, got 2", survivors=["alm", "celle"]),
        asked("without the site itself", "expected alm in them", survivors=["bern", "celle", "dorn"]),
        asked("out of order", words, survivors=["celle", "alm", "dorn"]),
        asked("one twice", words, survivors=["alm", "alm", "celle", "dorn"]),
        asked("a stranger", words, survivors=["alm", "celle", "zell"]),
        *_misshapen("ConfirmRequest", request),
    ]
    message = members["celle"].confirm(coordinator.confirm_request("celle"))
    everybody = records.survivors_digest(coordinator.digest, list(FOUR.vectors))
    forged = _FORGED.format("confirm")
    to_coordinator = [
        bad(
            "other survivors",
            "expected the survivors asked for, got others",
            data=_signed(message, "confirm", survivors=everybody),
        ),
        bad("of a dropped site", "expected one of a survivor", data=_signed(message, "confirm", site="bern")),
        bad("of a stranger", "expected a member of the cohort", data=pack({**message, "site": "zell"})),
        bad("another plan", "message: expected plan", data=_signed(message, "confirm", plan=bytes(32))),
        bad("signed with another label", forged, data=_signed(message, "confirm", label="answer")),
        bad("signed by another site", forged, data=_signed(message, "confirm", by="alm")),
        bad("a second one", "expected one, got a second", data=pack(members["alm"].confirm(request))),
        *_misshapen("Confirmation", message),
    ]
    digests: File = {"plan": coordinator.digest, "survivors": coordinator.survivors}
    digests["survivors_digest"] = records.survivors_digest(coordinator.digest, coordinator.survivors)
    # alm's confirmation has come, celle's is awaited
    return {
        "scene": FOUR.name,
        **digests,
        "good": exchange,
        "bad_to_alm": to_site,
        "bad_to_coordinator": to_coordinator,
    }


def unmask_file() -> File:
    scenes = []
    for found in (FOUR, THREE):
        coordinator = found.settled()
        exchange = []
        for site in coordinator.survivors:
            request = coordinator.unmask_request(site)
            exchange.append(
                {"site": site, "request": pack(request), "answer": pack(found.members[site].unmask(request))}
            )
        hostile = _bad_confirmations(found) if found is FOUR else _bad_requests(found)
        answers = [] if found is FOUR else _bad_answers(found)
        case = {"scene": found.name, "good": exchange, "bad_to_alm": hostile, "bad_to_coordinator": answers}
        scenes.append(case)
    return {"scenes": scenes}


def _bad_requests(found: Scene) -> list[File]:
    request = found.settled().unmask_request("alm")
    bundles, few = request["bundles"], found.threshold - 1
    others = [site for site in found.vectors if site != "alm"]

    def asked(name: str, words: str, **changes: Any) -> File:
        return bad(name, words, data=pack({**request, **changes}))

    stored, tag = "expected a request for the stored plan and alm", "expected sealed for this plan, sender and reader"
    return [
        asked("another plan", stored, plan=records.plan_digest(LATER.plan)),
        asked("for another site", stored, site=others[0]),
        asked("fewer than t", f"expected at least {found.threshold} sites", survivors=["alm", *others][:few]),
        asked("without the site itself", "expected alm in them", survivors=others),
        asked("out of order", "once, sorted", survivors=request["survivors"][::-1]),
        asked("a bundle short", f"expected {len(bundles)} bundles", bundles=bundles[1:]),
        asked("a bundle changed", tag, bundles=[bytes(len(bundles[0])), *bundles[1:]]),
        asked(
            "a bundle for another site", tag, bundles=[found.contributions[others[-1]][0]["bundles"][1], *bundles[1:]]
        ),
        asked("confirmations in semi-honest mode", "expected none in semi-honest mode", confirmations=[b""] * 2),
        *_misshapen("UnmaskRequest", request),
    ]


def _bad_confirmations(found: Scene) -> list[File]:
    request = found.settled().unmask_request("alm")
    signatures, bundles = request["confirmations"], request["bundles"]
    forged, least = _FORGED.format("confirm"), f"expected at least {found.threshold}, got {found.threshold - 1}"
    survivors = list(found.vectors)
    plan, told = request["plan"], records.survivors_digest(request["plan"], request["survivors"])

    def each(label: str, *parts: bytes) -> list[bytes]:
        return [primitives.sign(key("identity", site), label, *parts) for site in request["survivors"]]

    first = found.contributions["bern"][0]["bundles"][0]
    mixed = {
        "survivors": survivors,
        "bundles": [first, *bundles],
        "confirmations": [signatures[0], b"", *signatures[1:]],
    }

    def asked(name: str, words: str, **changes: Any) -> File:
        return bad(name, words, data=pack({**request, **changes}))

    return [
        asked("a confirmation short", least, confirmations=[b"", *signatures[1:]]),
        asked("no confirmations", "places, one per survivor", confirmations=[]),
        asked(
            "confirmations of two sites swapped", forged, confirmations=[signatures[1], signatures[0], signatures[2]]
        ),
        asked("confirmed for other survivors", forged, **mixed),
        asked("confirmed for another plan", forged, confirmations=each("konsil/confirm/v1", bytes(32), told)),
        asked("confirmations signed with another label", forged, confirmations=each("konsil/answer/v1", plan, told)),
        asked("two bundles swapped", "expected sealed for this plan", bundles=bundles[::-1]),
    ]


def _bad_answers(found: Scene) -> list[File]:
    """Sent to a coordinator that has alm's answer, and awaits the last survivor's."""
    coordinator = found.settled()
    site = coordinator.survivors[-1]
    message = found.members[site].unmask(coordinator.unmask_request(site))
    u, d = len(coordinator.survivors), len(found.dropped)
    everybody = records.survivors_digest(coordinator.digest, list(found.vectors))
    forged = _FORGED.format("answer")

    def signed(name: str, words: str, **changes: Any) -> File:
        return bad(name, words, data=_signed(message, "answer", **changes))

    alm = found.members["alm"].unmask(coordinator.unmask_request("alm"))
    return [
        signed("other survivors", "expected the survivors asked for, got others", survivors=everybody),
        signed("of a dropped site", "expected one of a survivor", site=next(iter(found.dropped))),
        signed("another plan", "message: expected plan", plan=bytes(32)),
        signed("a self share short", f"expected {33 * u} bytes", self_shares=message["self_shares"][33:]),
        signed("a pair seed more", f"expected {32 * d} bytes", pair_seeds=message["pair_seeds"] * 2),
        signed("no pair shares", f"expected {33 * (u - 1) * d} bytes", pair_shares=b""),
        signed("signed with another label", forged, label="confirm"),
        signed("signed by another site", forged, by="alm"),
        bad("a share changed after signing", forged, data=pack({**message, "self_shares": bytes(33 * u)})),
        bad("a second one", "expected one, got a second", data=pack(alm)),
        *_misshapen("UnmaskAnswer", message),
    ]


# Whole aggregates


def _training_vector(update: Sequence[float], weight: int, most: int, sites: int, bits: int) -> list[int]:
    """weight ÷ most × update in steps of 1; below 32 bits the update is rotated first."""
    entries = words.rotate(PAYLOAD, update) if bits < 32 else update
    bound = float(words.steps(sites, bits))
    return [words.quantize(entry, weight / most, bound, sites, bits) for entry in entries]


def _training(
    name: str, bits: int, adversary: str, dropped: Collection[str], sites: Sequence[str], t: int
) -> tuple[Scene, File]:
    most, n = 128, len(sites)
    updates = {s: [32.0 * (k + 1), -64.0 * k, 96.0, 16.0 * (k - 2) * 4] for k, s in enumerate(sites)}
    weights = {s: 128 >> (k % 3) for k, s in enumerate(sites)}
    vectors = {s: _training_vector(updates[s], weights[s], most, n, bits) for s in sites}
    bound = float(words.steps(n, bits))
    quantizer = pack({"bound": bound, "sites": n, "bits": bits})
    found = Scene(name, {s: [1, 0, 0, weights[s]] for s in sites}, vectors, t, 0, adversary, bits, dropped, quantizer)
    kept = [s for s in sites if s not in dropped]
    total = [sum(weights[s] / most * updates[s][place] for s in kept) for place in range(4)]
    told: File = {
        "updates": updates,
        "weights": weights,
        "max_images": most,
        "bound": bound,
        "sum_of_weight_times_update": total,
    }
    return found, told


def finish_file() -> File:
    five = ("alm", "bern", "celle", "dorn", "esch")
    active, told = _training("five-active", 32, "active", ("celle",), five, 3)
    narrow, narrowly = _training("four-narrow", 16, "semi-honest", ("alm",), five[:4], 3)
    return {
        "aggregates": [
            # esch does not confirm and bern does not answer: t of either remain
            {**active.shown(), **told, **_run(active, silent=("esch",), lost=("bern",))},
            {**narrow.shown(), **narrowly, **_run(narrow)},
        ]
    }


def _run(found: Scene, silent: Collection[str] = (), lost: Collection[str] = ()) -> File:
    """Every message of an aggregate in order, with the sum."""
    coordinator = Coordinator(found.plan, found.identities)
    log: list[File] = []
    for site, (message, vector) in found.contributions.items():
        if site not in found.dropped:
            coordinator.add(message, vector)
            log.append({"from": site, "contribution": pack(message), "vector": vector})
    for site in coordinator.survivors if found.adversary == "active" else ():
        request = coordinator.confirm_request(site)
        log.append({"to": site, "confirm_request": pack(request)})
        if site not in silent:
            coordinator.confirm(found.members[site].confirm(request))
            log.append({"from": site, "confirmation": pack(found.members[site].confirm(request))})
    for site in coordinator.survivors:
        request = coordinator.unmask_request(site)
        log.append({"to": site, "unmask_request": pack(request)})
        if site not in lost:
            answer = found.members[site].unmask(request)
            coordinator.answer(answer)
            log.append({"from": site, "answer": pack(answer)})
    counts, total = coordinator.finish()
    result: File = {"messages": log, "sum_of_counts": counts, "sum": total}
    for site in lost:
        # it does answer, rightly signed, with every share and seed wrong: the sum is the same, and the site is named
        answer = found.members[site].unmask(coordinator.unmask_request(site))
        changes: dict[str, Any] = {
            name: bytes(len(answer[name])) for name in ("self_shares", "pair_seeds", "pair_shares")
        }
        result["wrong_answer"] = {"from": site, "answer": _signed(answer, "answer", **changes)}
    return result


# Envelopes


def messages_file() -> File:
    operator = key("identity", "operator")
    coordinator, settled = FOUR.closed(), FOUR.settled()
    ask, unmask = pack(coordinator.confirm_request("alm")), pack(settled.unmask_request("alm"))
    task = pack({"body": {"type": "train", "weights": bytes(8), "class_weights": [1.0, 2.0]}})
    plan = {**FOUR.plan, "payload": digest("konsil/payload/v1", task)}

    def by_operator(kind: str, part: bytes) -> bytes:
        return primitives.sign(operator, f"konsil/{kind}/v1", part)

    step: File = {
        "type": "step",
        "plan": plan,
        "payload": task,
        "signature": by_operator("step", records.plan_digest(plan)),
        "init": b"",
    }
    confirm = {"type": "confirm", "request": ask, "signature": by_operator("confirm-request", ask)}
    unmasked = {"type": "unmask", "request": unmask, "signature": by_operator("unmask-request", unmask)}
    crossed = {"type": "unmask", "request": unmask, "signature": by_operator("confirm-request", unmask)}
    later = {**step, "plan": {**plan, "round": 2}}
    message, vector = FOUR.contributions["alm"]
    shown = {"seconds": 4.0, "spent": None, "figures": None, "counts": None}
    identity, of_plan = key("identity", "alm"), records.plan_digest(FOUR.plan)
    signature = primitives.sign(identity, "konsil/shown/v1", of_plan, pack(shown))
    contributed = {
        "type": "contributed",
        "contribution": pack(message),
        "shown": shown,
        "signature": signature,
        "vector": vector,
    }
    confirmation = pack(FOUR.members["alm"].confirm(coordinator.confirm_request("alm")))
    answer = pack(FOUR.members["alm"].unmask(settled.unmask_request("alm")))
    refused: File = {
        "type": "refused",
        "what": "plan",
        "expected": "a",
        "got": "b",
        "do": "",
        "rule": "",
        "site": "alm",
    }
    replies: list[File] = [
        {"type": "joined", "record": FOUR.plan["cohort"][0], "software": "0.1.0", "lacks": False},
        contributed,
        {"type": "confirmed", "confirmation": confirmation},
        {"type": "answered", "answer": answer},
        {**refused, "passing": False, "lacks": False},
    ]

    def enveloped(body: Message) -> bytes:
        return pack({"body": body, "version": records.VERSION})

    return {
        "operator_public": primitives.public_identity(operator),
        "site_public": primitives.public_identity(identity),
        "shown_is_for_plan": of_plan,
        "requests": [{"kind": body["type"], "data": enveloped(body)} for body in (step, confirm, unmasked)],
        "replies": [{"kind": body["type"], "data": enveloped(body)} for body in replies],
        "bad_requests": _bad_envelopes("Request", confirm),
        "bad_replies": _bad_envelopes("Reply", replies[2]),
        "bad_operator": [
            bad(
                "a confirm request's signature on an unmask request",
                _FORGED.format("unmask-request"),
                data=enveloped(crossed),
            ),
            bad("another plan than was signed", _FORGED.format("step"), data=enveloped(later)),
            bad("not signed", _FORGED.format("confirm-request"), data=enveloped({**confirm, "signature": b""})),
        ],
    }


def _bad_envelopes(kind: str, body: Message) -> list[File]:
    shape, number = _SHAPE.format(kind), "message version: expected 5, got {}"
    whole = {"body": body, "version": 5}
    typeless = {name: value for name, value in body.items() if name != "type"}
    return [
        bad("version 6", number.format(6), data=pack({**whole, "version": 6})),
        bad("version 4", number.format(4), data=pack({**whole, "version": 4})),
        bad(
            "version 6 with a body nobody knows",
            number.format(6),
            data=pack({"body": {"type": "x", "y": [1]}, "version": 6, "z": 0}),
        ),
        bad("no version", "expected its declared fields", data=pack({"body": body})),
        bad("version as text", "expected its declared fields", data=pack({**whole, "version": "5"})),
        bad("unknown type", shape, data=pack({**whole, "body": {**body, "type": "obey"}})),
        bad("no type", shape, data=pack({**whole, "body": typeless})),
        bad("unknown field", shape, data=pack({**whole, "extra": 1})),
        bad("unknown field in the body", shape, data=pack({**whole, "body": {**body, "extra": 1}})),
        bad("trailing byte", "expected its declared fields", data=pack(whole) + b"\0"),
        bad("nested without end", "expected its declared fields", data=b"\x82" + pack("body") + b"\x91" * 3000),
        bad("empty", "expected its declared fields", data=b""),
    ]
