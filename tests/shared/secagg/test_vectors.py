"""Known answers (vectors.json): what two versions of Konsil must agree on, and what none may accept.

The file was made by code of its own: hashlib, hmac and raw AES, Ed25519 and X25519 written out from PROTOCOL.md.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.crypto.identity import Identity
from shared.crypto.sealing import agree, check_public, derive
from shared.errors import PeerError
from shared.secagg.joining import RunKey, join
from shared.secagg.keystream import KeyStream
from shared.secagg.masks import MASK_LABEL
from shared.secagg.member import PAIR_LABEL, SEAL_LABEL
from shared.secagg.messages import commitment, share_commitment
from shared.secagg.plan import Plan
from shared.secagg.sharing import combine, weights_at_zero
from shared.wire import pack, unpack

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text())
PLAN_DIGEST = bytes.fromhex(VECTORS["pair"]["plan"])


def test_pair_seeds_and_sealing_keys() -> None:
    vector = VECTORS["pair"]
    secret = agree(bytes.fromhex(vector["private_a"]), bytes.fromhex(vector["public_b"]))
    for label, parts, expected in (
        (PAIR_LABEL, ("a", "b"), vector["seed"]),
        (SEAL_LABEL, ("a", "b"), vector["seal_a_to_b"]),
        (SEAL_LABEL, ("b", "a"), vector["seal_b_to_a"]),
    ):
        assert derive(secret, salt=PLAN_DIGEST, label=label, parts=parts).hex() == expected


def test_masks() -> None:
    words = np.empty(8, np.uint32)
    KeyStream(bytes.fromhex(VECTORS["pair"]["seed"]), MASK_LABEL).fill(words)
    assert words.tolist() == VECTORS["mask_words"]


def test_commitments() -> None:
    vector = VECTORS["commitments"]
    secret, share = bytes.fromhex(vector["secret"]), bytes.fromhex(vector["share"])
    sites = ("a", "b", "c")
    assert commitment(PLAN_DIGEST, sites, 1, 1, secret).hex() == vector["self_b"]
    assert commitment(PLAN_DIGEST, sites, 0, 1, secret).hex() == vector["pair_a_b"]
    assert commitment(PLAN_DIGEST, sites, 1, 0, secret).hex() == vector["pair_a_b"]
    assert share_commitment(PLAN_DIGEST, 0, 1, 2, share).hex() == vector["share_of_a_slot_b_to_c"]


def test_shares() -> None:
    vector = VECTORS["shares"]
    shares = [bytes.fromhex(share) for share in vector["shares"]]
    assert combine(shares, weights_at_zero(vector["points"])).hex() == vector["secret"]


def test_join_records_and_plans() -> None:
    vector = VECTORS["join"]
    public = bytes.fromhex(vector["public_key"])
    record = join(
        RunKey(private=bytes(32), public=public),
        Identity.from_private_bytes(bytes.fromhex(vector["identity"])),
        site="a",
        run="run",
        study_hash=bytes([1] * 32),
        roster_hash=bytes([2] * 32),
    )
    assert record.signature.hex() == vector["signature"]
    plan = Plan(
        run="run",
        study_hash=bytes([1] * 32),
        roster_hash=bytes([2] * 32),
        round=3,
        attempt=4,
        step="train",
        payload=bytes([5] * 32),
        cohort=(record,),
        threshold=2,
        quantizer=b"q",
        length=6,
    )
    assert pack(plan).hex() == vector["plan"]
    assert unpack(Plan, pack(plan)) == plan
    assert plan.digest().hex() == vector["plan_digest"]


@pytest.mark.parametrize("public", VECTORS["bad_public_keys"])
def test_bad_public_keys(public: str) -> None:
    with pytest.raises(PeerError):
        check_public(bytes.fromhex(public), owner="a")


@pytest.mark.parametrize("data", VECTORS["bad_plans"].values(), ids=VECTORS["bad_plans"].keys())
def test_bad_plans(data: str) -> None:
    with pytest.raises(PeerError, match="Plan"):
        unpack(Plan, bytes.fromhex(data))
