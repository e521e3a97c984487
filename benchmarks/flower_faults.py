"""Wrong sums and crashes: weights, ranges, lost sites, wrong shares (published failures, 5 and 6)."""

from typing import cast

import numpy as np
from flower_attack import Outcome, Vector, attack, flower_log, raised
from flower_round import Federation
from flower_sites import constant
from flower_workflow import Wire, workflow_round
from flwr.app import ConfigRecord
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt
from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage
from flwr.common.secure_aggregation.secaggplus_utils import (
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)


@attack("a weight over the maximum")
def weight_over_maximum() -> Outcome:
    federation = Federation(3, threshold=2)
    for site in federation.sites.values():
        site.train = constant(np.full(8, 0.5))
    federation.sites[3].examples = 100_000
    with flower_log() as log:
        model = workflow_round(federation, Wire(federation.sites))
    warned = sum("overflow" in line for line in log)
    if model is None:
        return "nothing: the round was refused", False
    return f"every site sent 0.5, the model says {model[0]:.3f}: {warned} warning, in one site's log", model[0] != 0.5


@attack("a parameter over the clipping range")
def parameter_over_range() -> Outcome:
    federation = Federation(3, threshold=2)
    for site in federation.sites.values():
        site.train = constant(np.full(8, 100.0))
    with flower_log() as log:
        model = workflow_round(federation, Wire(federation.sites))
    if model is None:
        return "nothing: the round was refused", False
    return f"every site sent 100, the model says {model[0]:.0f}: {sum('clip' in line for line in log)} warnings", model[
        0
    ] != 100


def crash_of(federation: Federation, wire: Wire) -> tuple[Vector | None, str]:
    """The model, and what the workflow itself raised."""
    models: list[Vector | None] = []
    reason = raised(lambda: models.append(workflow_round(federation, wire)))
    return (models[0] if models else None), reason


@attack("a site lost before it shared its keys")
def lost_before_sharing() -> Outcome:
    federation = Federation(5, threshold=3)
    wire = Wire(federation.sites, lost={5: Stage.SHARE_KEYS})
    model, _ = crash_of(federation, wire)
    errors = wire.errors(Stage.UNMASK)
    errors.pop(5, None)
    works = model is None and len(errors) == 4
    return f"no model: the {len(errors)} other sites raise {errors.get(1, 'nothing')} in the last stage", works


def liar(chunk: int) -> tuple[Federation, Wire]:
    """Site 1 changes one bit of its share of site 2's self seed, in this chunk of 16 bytes."""
    federation = Federation(4, threshold=3)

    def tamper(node: int, stage: str, reply: ConfigRecord) -> None:
        if node == 1 and stage == Stage.UNMASK:
            nodes, shares = cast(list[int], reply[Key.NODE_ID_LIST]), list(cast(list[bytes], reply[Key.SHARE_LIST]))
            share = bytearray(shares[nodes.index(2)])
            share[4 + 16 * chunk] ^= 1
            shares[nodes.index(2)] = bytes(share)
            reply[Key.SHARE_LIST] = shares

    return federation, Wire(federation.sites, tamper=tamper)


@attack("a wrong share, one bit in its first block")
def wrong_share_silent() -> Outcome:
    federation, wire = liar(chunk=0)
    model, reason = crash_of(federation, wire)
    if model is None:
        return f"nothing: {reason}", False
    true = np.mean(list(federation.truth.values()), axis=0)
    off = np.abs(model - true).max()
    return f"a model off by up to {off:.0f}, taken without an error; nobody is named", bool(off > 1)


@attack("a wrong share, one bit in its last block")
def wrong_share_crash() -> Outcome:
    federation, wire = liar(chunk=2)
    _, reason = crash_of(federation, wire)
    return f"the workflow ends with {reason}; nobody is named", bool(reason)


@attack("a share cut short by the site that made it")
def share_cut_short() -> Outcome:
    """Site 1 seals shares without their body; nobody sees it before the last stage."""
    federation = Federation(4, threshold=3)

    def tamper(node: int, stage: str, reply: ConfigRecord) -> None:
        if node == 1 and stage == Stage.SHARE_KEYS:
            secrets = federation.sites[1].secrets()
            nodes, keys = cast(list[int], secrets["ss2_dict:K"]), cast(list[bytes], secrets["ss2_dict:V"])
            own = dict(zip(nodes, keys, strict=True))
            sealed = []
            for to, data in zip(
                cast(list[int], reply[Key.DESTINATION_LIST]), cast(list[bytes], reply[Key.CIPHERTEXT_LIST]), strict=True
            ):
                _, _, seed, key = share_keys_plaintext_separate(decrypt(own[to], data))
                sealed.append(encrypt(own[to], share_keys_plaintext_concat(1, to, seed[:4], key[:4])))
            reply[Key.CIPHERTEXT_LIST] = sealed

    wire = Wire(federation.sites, tamper=tamper)
    _, reason = crash_of(federation, wire)
    return f"the workflow ends with {reason or 'nothing'}; nobody is named", bool(reason)
