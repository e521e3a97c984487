"""Writes every JSON file of this folder anew, the same bytes each time:  python -m tests.vectors.secagg.write

Bad cases hold what must be refused and the words that Konsil's error must have (`words`).
"""

import json
from pathlib import Path
from typing import Any

from tests.vectors.secagg import primitives, records, steps, words
from tests.vectors.secagg.packed import digest, pack
from tests.vectors.secagg.primitives import PRIME
from tests.vectors.secagg.records import Message
from tests.vectors.secagg.scenes import FOUR, LATER, ROSTER_HASH, STUDY_HASH, THREE, bad, key

HERE = Path(__file__).parent
FIELD = (1 << 255) - 19
SITES = ("alm", "bern", "celle")


def renamed(record: Message, **changes: Any) -> bytes:
    """`record` packed, some fields changed, added, or left out (None)."""
    return pack({name: value for name, value in {**record, **changes}.items() if value is not None})


def bad_keys() -> list[dict[str, Any]]:
    """Encodings of run keys that nobody may agree with."""
    order_8 = (
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    )
    low = [number.to_bytes(32, "little") for number in (0, 1, FIELD - 1)] + [bytes.fromhex(text) for text in order_8]
    twice = {"p": FIELD, "p + 1": FIELD + 1, "p + 9": FIELD + 9, "9, top bit set": (1 << 255) + 9}
    twice |= {"2^256 - 1": (1 << 256) - 1}
    twice |= {f"low order {k}, top bit set": int.from_bytes(data, "little") + (1 << 255) for k, data in enumerate(low)}
    return [bad(f"low order {k}", "expected a point of high order", key=data) for k, data in enumerate(low)] + [
        bad(f"not canonical: {name}", "expected 32 bytes, canonical", key=number.to_bytes(32, "little"))
        for name, number in twice.items()
    ]


def join_file() -> dict[str, Any]:
    good = [
        {"identity": key("identity", s), "run_key": key("run key", s), **r}
        for s, r in zip(SITES, THREE.plan["cohort"], strict=True)
    ]
    for case, record in zip(good, THREE.plan["cohort"], strict=True):
        case["record"] = pack(record)
    record = THREE.plan["cohort"][0]
    shape, forged = "JoinRecord message: expected its declared fields", "signature for konsil/join/v1"

    def signed(label: str = "konsil/join/v1", by: str = "alm", **changes: Any) -> bytes:
        new = {**record, **changes}
        parts = [new[name] if isinstance(new[name], bytes) else new[name].encode() for name in list(new)[:5]]
        return pack({**new, "signature": primitives.sign(key("identity", by), label, *parts)})

    cases = [bad(f"run key of {c['name']}", c["words"], record=signed(public_key=c["key"])) for c in bad_keys()] + [
        bad("signed with another label", forged, record=signed("konsil/plan/v1")),
        bad("signed by another site", forged, record=signed(by="bern")),
        bad("another site's name, not signed anew", forged, record=renamed(record, site="bern")),
        bad(
            "another run key, not signed anew",
            forged,
            record=renamed(record, public_key=THREE.plan["cohort"][1]["public_key"]),
        ),
        bad("no signature", forged, record=renamed(record, signature=b"")),
        bad("a site the roster does not list", "expected a site of roster", record=signed(site="zell")),
        bad("another run", "expected run 'vectors' with its study and roster", record=signed(run="other")),
        bad("another study", "expected run 'vectors' with its study and roster", record=signed(study_hash=bytes(32))),
        bad("another roster", "expected run 'vectors' with its study and roster", record=signed(roster_hash=bytes(32))),
        bad("run key of 31 bytes", shape, record=signed(public_key=bytes(31))),
        bad("a name in capitals", shape, record=signed(site="ALM")),
        bad("unknown field", shape, record=renamed(record, extra=1)),
        bad("missing field", shape, record=renamed(record, roster_hash=None)),
        bad("text instead of bytes", shape, record=renamed(record, signature="x" * 64)),
        bad("trailing byte", shape, record=pack(record) + b"\0"),
        bad("cut short", shape, record=pack(record)[:-1]),
        bad("nested without end", shape, record=b"\x91" * 40),
    ]
    return {"run": "vectors", "study_hash": STUDY_HASH, "roster_hash": ROSTER_HASH, "good": good, "bad": cases}


def plan_file() -> dict[str, Any]:
    good = [
        {"plan": pack(s.plan), "digest": records.plan_digest(s.plan), "sites": list(s.vectors)} for s in (THREE, FOUR)
    ]
    terms = [[n, c, records.threshold(n, c)] for n in (2, 3, 4, 5, 6, 7, 10, 50, 200) for c in (0, 1, 2, n // 3)]
    plan, shape = THREE.plan, "Plan message: expected its declared fields"
    cohort = plan["cohort"]
    order, least = "expected each site once, sorted by name", "expected more than (3 sites + 0 colluders) / 2, to 3"
    twin = records.join(
        key("identity", "celle"),
        key("run key", "alm"),
        run="vectors",
        study_hash=STUDY_HASH,
        roster_hash=ROSTER_HASH,
        site="celle",
    )
    fourth = FOUR.plan["cohort"][3]
    body = pack(plan)[1:]  # behind the head of a map of 15 fields
    repeated = b"\xde\x00\x10" + body + pack("threshold") + pack(2)
    changes: list[tuple[str, str, dict[str, Any]]] = [
        ("cohort out of order", order, {"cohort": cohort[::-1]}),
        ("one site twice", order, {"cohort": [cohort[0], *cohort[:2]]}),
        ("one run key for two sites", "expected a run key of its own for each site", {"cohort": [*cohort[:2], twin]}),
        (
            "t too low",
            "expected more than (4 sites + 0 colluders) / 2, to 4",
            {"threshold": 2, "cohort": [*cohort, fourth]},
        ),
        ("t above n", least, {"threshold": 4}),
        ("t that more colluders break", "expected more than (3 sites + 1 colluders) / 2, to 3", {"colluders": 1}),
        ("another run than its join records'", "expected run 'other' with its study and roster", {"run": "other"}),
        ("another study than its join records'", "with its study and roster", {"study_hash": bytes(32)}),
        ("t of 1", shape, {"threshold": 1}),
        ("t as a number with a point", shape, {"threshold": 3.0}),
        ("round below 0", shape, {"round": -1}),
        ("colluders below 0", shape, {"colluders": -1}),
        ("unknown mode", shape, {"adversary": "none"}),
        ("unknown step", shape, {"step": "deploy"}),
        ("words of 9 bits", shape, {"bits": 9}),
        ("words of 17 bits", shape, {"bits": 17}),
        ("length below 0", shape, {"length": -1}),
        ("no counts", shape, {"counts": 0}),
        ("counts above 2^20", shape, {"counts": (1 << 20) + 1}),
        ("length above 2^28", shape, {"length": (1 << 28) + 1}),
        ("payload digest of 31 bytes", shape, {"payload": bytes(31)}),
        ("unknown field", shape, {"extra": 1}),
        ("missing field", shape, {"round": None}),
        ("a cohort that is no list", shape, {"cohort": {}}),
    ]
    short = {**plan, "cohort": []}  # a shape is wrong whoever is in the cohort
    cases = [
        bad(name, words, plan=renamed(short if words is shape else plan, **change)) for name, words, change in changes
    ]
    cases += [
        bad("trailing byte", shape, plan=pack(plan) + b"\0"),
        bad("cut short", shape, plan=pack(plan)[:-1]),
        bad("cohort nested without end", shape, plan=b"\x81" + pack("cohort") + b"\x91" * 40),
        bad("no map", shape, plan=pack([1])),
        bad("empty", shape, plan=b""),
    ]
    # Konsil reads these as the same plan: a digest is always of the values, packed anew
    other = {"repeated field": repeated, "long form of a map": b"\xde\x00\x0f" + body}
    other["fields in another order"] = pack(dict(reversed(plan.items())))
    unusual = [{"name": name, "plan": data, "digest": records.plan_digest(plan)} for name, data in other.items()]
    return {"good": good, "threshold_of_n_c": terms, "bad": cases, "unusual": unusual}


def masks_file() -> dict[str, Any]:
    seeds = [bytes(32), bytes(range(32)), b"\xff" * 32]
    streams = [
        {
            "seed": seed,
            "key": digest("konsil/mask/v1", seed),
            "bits": bits,
            "start": start,
            "words": words.mask(seed, 9, bits, start),
        }
        for seed in seeds
        for bits, start in ((32, 0), (16, 0), (32, 4), (16, 8), (32, 65532), (16, 131072))
    ]
    masked = []
    for bits in (32, 16):
        vector = [0, 1, (1 << bits) - 1, 1 << (bits - 1), 12345]
        total = vector
        for seed, sign in zip(seeds, (1, 1, -1), strict=True):
            total = words.add(total, words.mask(seed, 5, bits), bits, sign)
        case = {"bits": bits, "vector": vector, "seeds": seeds, "signs": [1, 1, -1], "masked": total}
        masked.append(case)
    return {"streams": streams, "masked": masked}


def shares_file() -> dict[str, Any]:
    good: list[dict[str, Any]] = []
    for t, n in ((2, 2), (2, 3), (3, 5), (4, 7)):
        secret = key("secret", f"{t} of {n}")
        coefficients = [int.from_bytes(key("coefficient", f"{t} {n} {e}"), "big") for e in range(1, t - 1)] + [
            PRIME - 1
        ]
        chosen = list(range(n - t, n))
        shares = primitives.split(secret, coefficients, n)
        good.append(
            {
                "secret": secret,
                "coefficients": [c.to_bytes(33, "big") for c in coefficients],
                "shares": shares,
                "points": [k + 1 for k in chosen],
                "weights": [w.to_bytes(33, "big") for w in primitives.weights(chosen)],
            }
        )
    first = good[2]
    shares = [first["shares"][x - 1] for x in first["points"]]
    swapped, over = [shares[1], shares[0], shares[2]], [b"\xff" * 33] * 3
    largest = primitives.split(bytes(32), [0, 0], 5)
    whole = [(int.from_bytes(share, "big") + (1 << 256)).to_bytes(33, "big") for share in largest[:3]]
    points, larger = first["points"], "expected those of a 32-byte secret, got a larger number"
    # f(0) = 2^256, a number of the field that is no secret
    cases = [bad("shares of 2^256", larger, shares=whole, points=points)]
    other: list[dict[str, Any]] = [{"name": "two shares swapped", "shares": swapped, "points": points}]
    other.append({"name": "shares above the field", "shares": over, "points": points})
    for case in other:
        numbers = [int.from_bytes(share, "big") for share in case["shares"]]
        at_zero = sum(w * x for w, x in zip(primitives.weights([p - 1 for p in points]), numbers, strict=True)) % PRIME
        case["combined"] = at_zero.to_bytes(33, "big")
    return {"prime": PRIME.to_bytes(33, "big"), "good": good, "bad": cases, "wrong": other}


def sealing_file() -> dict[str, Any]:
    plan = records.plan_digest(FOUR.plan)
    private_a, private_b = key("run key", "alm"), key("run key", "bern")
    public_b = primitives.public_run_key(private_b)
    secret = primitives.agree(private_a, public_b)
    bundle = FOUR.contributions["alm"][0]["bundles"][0]
    opened = b"".join(FOUR.members["bern"]._open("alm", bundle))
    there, back = (primitives.seal_key(plan, secret, *pair) for pair in (("alm", "bern"), ("bern", "alm")))
    seed = primitives.pair_seed(plan, secret, "alm", "bern")
    good = {
        "names": ["alm", "bern"],
        "private_a": private_a,
        "public_a": primitives.public_run_key(private_a),
        "private_b": private_b,
        "public_b": public_b,
        "secret": secret,
        "plan": plan,
        "pair_seed": seed,
        "seal_a_to_b": there,
        "seal_b_to_a": back,
        "bundle_a_to_b": bundle,
        "opened": opened,
    }
    tag, later = "expected sealed for this plan, sender and reader, got a wrong tag", records.plan_digest(LATER.plan)
    cases = [
        bad("the key of the other direction", tag, key=back, plan=plan, bundle=bundle),
        bad("the pair seed as key", tag, key=seed, plan=plan, bundle=bundle),
        bad("another plan", tag, key=there, plan=later, bundle=bundle),
        bad("a changed byte", tag, key=there, plan=plan, bundle=bundle[:-1] + bytes([bundle[-1] ^ 1])),
        bad("cut short", tag, key=there, plan=plan, bundle=bundle[:-1]),
        bad("27 bytes", "expected at least 28 bytes, got 27 bytes", key=there, plan=plan, bundle=bundle[:27]),
    ]
    lengths = [bad(f"{n} bytes", f"expected 32 bytes, canonical, got {n} bytes", key=bytes(n)) for n in (0, 31, 33)]
    shares = (0, 1, 2)
    commitments = {
        "commit_self_alm": records.commit_self(plan, "alm", seed),
        "commit_pair_alm_bern": records.commit_pair(plan, "alm", "bern", seed),
        "share": opened[: primitives.SHARE],
        "commit_share_owner_0_slot_1_member_2": records.commit_share(plan, *shares, opened[: primitives.SHARE]),
    }
    return {"good": good, "commitments": commitments, "bad_keys": bad_keys() + lengths, "bad": cases}


def packing_file() -> dict[str, Any]:
    good, cases = [], []
    for bits in (*range(10, 17), 32):
        for length in (1, 2, 5, 8, 11):
            vector = [(0x9E3779B1 * (place + bits) >> 3) % (1 << bits) for place in range(length)]
            data = words.pack_words(vector, bits)
            good.append({"bits": bits, "words": vector, "packed": data})
        size = -(-5 * bits // 8)
        data = words.pack_words([(1 << bits) - 1] * 5, bits)
        cases.append(bad("a byte short", "bytes, got", bits=bits, length=5, packed=data[:-1]))
        cases.append(bad("a byte more", "bytes, got", bits=bits, length=5, packed=data + b"\0"))
        if 5 * bits % 8:
            for place in range(5 * bits % 8, 8):
                dirty = (int.from_bytes(data, "little") | 1 << (8 * (size - 1) + place)).to_bytes(size, "little")
                cases.append(
                    bad(f"padding bit {place} set", "expected zeros in the last", bits=bits, length=5, packed=dirty)
                )
    return {"good": good, "bad": cases}


def rotation_file() -> dict[str, Any]:
    good = []
    for length in (1, 2, 3, 5, 8, 13, 33):
        seed = key("rotation", str(length))
        update = [float((7 * place + 3) % 31 - 15) for place in range(length)]
        rotated = words.rotate(seed, update)
        if words.rotate_back(seed, rotated, length) != update:
            raise ValueError("the rotation does not come back")
        rows, columns = words.shape(length)
        good.append({"seed": seed, "rows": rows, "columns": columns, "update": update, "rotated": rotated})
    return {"good": good}


def quantizer_file() -> dict[str, Any]:
    good = []
    for bits, sites, bound in (
        (32, 4, 536870911.0),
        (32, 3, 715827882.0),
        (16, 4, 8191.0),
        (10, 2, 255.0),
        (13, 5, 819.0),
    ):
        most = words.steps(sites, bits)
        entries = [0.0, 1.0, -1.0, 2.0, -100.0, 77.0]
        encoded = [words.quantize(entry, 0.5, bound, sites, bits) for entry in (2 * e for e in entries)]
        quantizer = pack({"bound": bound, "sites": sites, "bits": bits})
        total = [word * sites % (1 << (8 * words.word_bytes(bits))) for word in encoded]
        decoded = [words.decode_number(word, bound, sites, bits) for word in total]
        good.append(
            {
                "quantizer": quantizer,
                "bound": bound,
                "sites": sites,
                "bits": bits,
                "steps": most,
                "weight": 0.5,
                "entries": [2 * e for e in entries],
                "encoded": encoded,
                "sum_of_sites_times_encoded": total,
                "decoded": decoded,
            }
        )
    return {"good": good}


def counts_file() -> dict[str, Any]:
    seeds = [bytes(32), bytes(range(32)), b"\xff" * 32]
    streams = [
        {
            "seed": seed,
            "key": digest("konsil/mask-counts/v1", seed),
            "words": [str(n) for n in words.count_mask(seed, 5)],
        }
        for seed in seeds
    ]
    counts = total = [1, 0, 12345, (1 << 48) - 1]
    for seed, sign in zip(seeds, (1, 1, -1), strict=True):
        total = words.add(total, words.count_mask(seed, 4), 64, sign)
    masked = {"counts": counts, "seeds": seeds, "signs": [1, 1, -1], "masked": words.pack_words(total, 64)}
    return {"streams": streams, "masked": masked}


WHAT = {
    "join": (join_file, "Join records: keys, what is signed, and records that must be refused."),
    "plan": (plan_file, "Packed plans, their digests, t for n and c, and plans that must be refused."),
    "masks": (masks_file, "Mask streams, from the start and from the middle, and masked vectors."),
    "shares": (shares_file, "Shamir shares of given coefficients, Lagrange weights, and what is no secret."),
    "sealing": (sealing_file, "X25519, pair seeds, sealing keys, bundles, commitments; keys and bundles to refuse."),
    "packing": (packing_file, "Words of 10 to 16 and 32 bits as bytes; lengths and padding to refuse."),
    "rotation": (rotation_file, "The public rotation of small whole numbers."),
    "quantizer": (quantizer_file, "Whole steps as integers, sums of them decoded."),
    "counts": (counts_file, "Counts: their mask streams, masked and packed."),
    "contribution": (steps.contribution_file, "Step 1: all secrets and messages of four and of three sites."),
    "confirm": (steps.confirm_file, "Step 2: confirm requests and confirmations, and those to refuse."),
    "unmask": (steps.unmask_file, "Step 3: unmask requests and answers, one site dropped, and those to refuse."),
    "finish": (steps.finish_file, "Whole aggregates: every message in order, and the sum."),
    "messages": (steps.messages_file, "Requests and replies as they travel, and those to refuse."),
}


def plain(value: Any) -> Any:
    """Bytes as hexadecimal text."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value


def text_of(name: str) -> str:
    """The JSON of one file: one line for a list of numbers, and for whatever is short."""
    make, what = WHAT[name]
    return _lines(plain({"what": what, "version": records.VERSION, **make()}), "") + "\n"


def _lines(value: Any, indent: str) -> str:
    short = json.dumps(value)
    if len(short) + len(indent) <= 120 or not isinstance(value, dict | list):
        return short
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{inner}{json.dumps(name)}: {_lines(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _lines(item, inner) for item in value) + f"\n{indent}]"


if __name__ == "__main__":
    for file in WHAT:
        (HERE / f"{file}.json").write_text(text_of(file))
