"""The records of docs/protocol.md, what is digested and signed of them, and which plans are refused; see second.py.

Records are plain dicts in the order of `FIELDS`.
"""

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Any

from tests.vectors.secagg.packed import Refused, digest, pack, unpack
from tests.vectors.secagg.primitives import public_run_key, sign, verify

Message = dict[str, Any]

VERSION = 5

#: The fields of every record, in the order in which they are packed.
FIELDS = {
    "JoinRecord": "run study_hash roster_hash site public_key signature",
    "Plan": "step payload threshold colluders adversary quantizer counts length bits run study_hash roster_hash "
    "round attempt cohort",
    "Contribution": "plan site counts bundles commitments share_commitments signature",
    "ConfirmRequest": "plan site survivors",
    "Confirmation": "plan site survivors signature",
    "UnmaskRequest": "plan site survivors bundles confirmations",
    "UnmaskAnswer": "plan site survivors self_shares pair_seeds pair_shares signature",
}

#: The types of fields that are not byte strings.
TYPES: dict[str, type] = dict.fromkeys(("run", "site", "step", "adversary"), str)
TYPES |= dict.fromkeys(("threshold", "colluders", "length", "bits", "round", "attempt"), int)
TYPES |= dict.fromkeys(("cohort", "bundles", "confirmations"), list)


def read(kind: str, data: bytes) -> Message:
    """The record `kind` packed in `data`."""
    found = unpack(data)
    if not _is_record(kind, found):
        raise Refused(f"{kind} has other fields")
    message: Message = found
    if any(not _is_record("JoinRecord", record) for record in message.get("cohort", [])):
        raise Refused("JoinRecord has other fields")
    return message


def _is_record(kind: str, value: Any) -> bool:
    """Fields and their types; limits are tested where they matter."""
    if not isinstance(value, dict) or list(value) != FIELDS[kind].split():
        return False
    special: dict[str, type] = {"survivors": list} if kind.endswith("Request") else {}
    special |= {"counts": int} if kind == "Plan" else {}
    return all(isinstance(item, special.get(name, TYPES.get(name, bytes))) for name, item in value.items())


def threshold(n: int, c: int, at_least: str = "0.6") -> int:
    """The least t with 2 t > n + c, at least 2 and at least the study's fraction of n."""
    return max(2, (n + c) // 2 + 1, -(-Fraction(at_least) * n // 1).__int__())


def join(identity: bytes, run_key: bytes, *, run: str, study_hash: bytes, roster_hash: bytes, site: str) -> Message:
    public = public_run_key(run_key)
    signature = sign(identity, "konsil/join/v1", run.encode(), study_hash, roster_hash, site.encode(), public)
    values = (run, study_hash, roster_hash, site, public, signature)
    return dict(zip(FIELDS["JoinRecord"].split(), values, strict=True))


def plan_digest(plan: Message) -> bytes:
    return digest("konsil/plan/v1", pack(plan))


def names(plan: Message) -> list[str]:
    return [record["site"] for record in plan["cohort"]]


def check_plan(plan: Message, identities: dict[str, bytes]) -> None:
    """Refuse a plan with a wrong cohort, join record or threshold."""
    cohort, keys = names(plan), {record["public_key"] for record in plan["cohort"]}
    if cohort != sorted(set(cohort)) or len(keys) != len(cohort):
        raise Refused("cohort: not in order, or somebody twice")
    if 2 * plan["threshold"] <= len(cohort) + plan["colluders"] or plan["threshold"] > len(cohort):
        raise Refused("threshold")
    for record in plan["cohort"]:
        if any(record[name] != plan[name] for name in ("run", "study_hash", "roster_hash")):
            raise Refused("a join record of another run")
        parts = [record[name] for name in ("run", "study_hash", "roster_hash", "site", "public_key")]
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        verify(identities[record["site"]], record["signature"], "konsil/join/v1", *encoded)


def commit_self(plan: bytes, name: str, seed: bytes) -> bytes:
    return digest("konsil/commit-self/v1", plan, name.encode(), seed)


def commit_pair(plan: bytes, a: str, b: str, seed: bytes) -> bytes:
    """By number, which is by name: the cohort is sorted."""
    first, second = sorted((a, b))
    return digest("konsil/commit-pair/v1", plan, first.encode(), second.encode(), seed)


def commit_share(plan: bytes, owner: int, slot: int, member: int, share: bytes) -> bytes:
    place = b"".join(number.to_bytes(4, "big") for number in (owner, slot, member))
    return digest("konsil/commit-share/v1", plan, place, share)[:16]


def survivors_digest(plan: bytes, survivors: Sequence[str]) -> bytes:
    return digest("konsil/survivors/v1", plan, *(name.encode() for name in survivors))


def contribution_parts(message: Message, vector: bytes) -> list[bytes]:
    """What the signature of a contribution covers."""
    of_vector = digest("konsil/vector/v1", sha256(vector).digest())
    head = [message["plan"], message["site"].encode(), message["counts"], of_vector]
    return [*head, message["commitments"], message["share_commitments"], *message["bundles"]]


def answer_parts(message: Message) -> list[bytes]:
    head = [message["plan"], message["site"].encode(), message["survivors"]]
    return head + [message[name] for name in ("self_shares", "pair_seeds", "pair_shares")]
