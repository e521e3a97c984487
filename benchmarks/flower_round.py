"""Flower's coordinator: the messages of one honest round, each of which an attack may change."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from flower_arithmetic import masks
from flower_attack import CLIPPING, MAX_WEIGHT, MODULUS, TARGET, KeyPair, Masked, Outcome, Vector
from flower_sites import Site, constant, update_of_site
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.typing import ConfigRecordValues
from flwr.common import FitIns, ndarrays_to_parameters
from flwr.common import bytes_to_ndarray as to_array
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat


@dataclass(frozen=True)
class Bundle:
    """An encrypted pair of shares, `source` → `to`."""

    source: int
    to: int
    ciphertext: bytes


@dataclass(frozen=True)
class Opened:
    """What one site gave in the last stage: its shares of self seeds and of private keys, by owner."""

    seeds: dict[int, bytes]
    keys: dict[int, bytes]


class Federation:
    """Sites 1..count and the messages of one honest round."""

    def __init__(self, count: int, *, threshold: int, size: int = 8) -> None:
        self.truth = {node: update_of_site(node, size) for node in range(1, count + 1)}
        self.sites = {node: Site(node, constant(update)) for node, update in self.truth.items()}
        self.nodes, self.threshold = list(self.sites), threshold
        self.model: Vector = np.zeros(size)
        self.round = "1"

    def message(
        self, node: int, stage: str, configs: Mapping[str, object], model: Vector | None = None, kind: str = "train"
    ) -> Message:
        content = RecordDict()
        if model is not None:
            content = compat.fitins_to_recorddict(FitIns(ndarrays_to_parameters([model]), {}), True)
        values = cast(dict[str, ConfigRecordValues], {Key.STAGE: stage, **configs})
        content.config_records[RECORD_KEY_CONFIGS] = ConfigRecord(values)
        return Message(content, dst_node_id=node, message_type=kind, group_id=self.round)

    def ask(self, node: int, stage: str, configs: Mapping[str, object], model: Vector | None = None) -> RecordDict:
        return self.sites[node].answer(self.message(node, stage, configs, model)).content

    def setup(
        self, nodes: Iterable[int] | None = None, changed: Mapping[str, float] | None = None
    ) -> dict[int, KeyPair]:
        """Both public keys of every node."""
        settings = {
            Key.SAMPLE_NUMBER: len(self.nodes),
            Key.SHARE_NUMBER: len(self.nodes),
            Key.THRESHOLD: self.threshold,
            Key.CLIPPING_RANGE: CLIPPING,
            Key.TARGET_RANGE: TARGET,
            Key.MOD_RANGE: MODULUS,
            Key.MAX_WEIGHT: MAX_WEIGHT,
        }
        keys = {}
        for node in self.nodes if nodes is None else nodes:
            reply = configs_of(self.ask(node, Stage.SETUP, settings | dict(changed or {})))
            keys[node] = (cast(bytes, reply[Key.PUBLIC_KEY_1]), cast(bytes, reply[Key.PUBLIC_KEY_2]))
        return keys

    def share(self, node: int, keys: Mapping[int, KeyPair]) -> list[Bundle]:
        """The node is shown these keys; its bundles."""
        reply = configs_of(self.ask(node, Stage.SHARE_KEYS, {str(k): list(pair) for k, pair in keys.items()}))
        to, sealed = cast(list[int], reply[Key.DESTINATION_LIST]), cast(list[bytes], reply[Key.CIPHERTEXT_LIST])
        return [Bundle(node, k, data) for k, data in zip(to, sealed, strict=True)]

    def share_all(self, keys: Mapping[int, KeyPair]) -> list[Bundle]:
        return [bundle for node in keys for bundle in self.share(node, keys)]

    def collect(self, node: int, bundles: Iterable[Bundle], model: Vector | None = None) -> Masked:
        """The node is handed what is addressed to it; its masked vector (the weight, then the update)."""
        mine = [bundle for bundle in bundles if bundle.to == node]
        configs = {
            Key.CIPHERTEXT_LIST: [bundle.ciphertext for bundle in mine],
            Key.SOURCE_LIST: [bundle.source for bundle in mine],
        }
        return masked_of(self.ask(node, Stage.COLLECT_MASKED_VECTORS, configs, self.model if model is None else model))

    def unmask(self, node: int, active: Sequence[int], dead: Sequence[int] = ()) -> Opened:
        lists = {Key.ACTIVE_NODE_ID_LIST: list(active), Key.DEAD_NODE_ID_LIST: list(dead)}
        shares = cast(list[bytes], configs_of(self.ask(node, Stage.UNMASK, lists))[Key.SHARE_LIST])
        split = len(active)
        return Opened(dict(zip(active, shares[:split], strict=True)), dict(zip(dead, shares[split:], strict=True)))

    def until_masked(self) -> tuple[dict[int, KeyPair], dict[int, Masked]]:
        """Three honest stages: every node's keys and masked vector."""
        keys = self.setup()
        bundles = self.share_all(keys)
        return keys, {node: self.collect(node, bundles) for node in keys}

    def summed(self, masked: Mapping[int, Masked]) -> Masked:
        """The honest end of a round without drop-outs: the sum of the vectors."""
        opened = [self.unmask(node, list(masked)) for node in masked]
        total = functools.reduce(parameters_addition, masked.values())
        for node in masked:
            seed = combine_shares([each.seeds[node] for each in opened])
            total = parameters_subtraction(total, masks(seed, total))
        return parameters_mod(total, MODULUS)

    def verdict(self, node: int, found: Vector, how: str) -> Outcome:
        """Whether `found` is the node's update, bit for bit."""
        if np.array_equal(found, self.truth[node]):
            return f"one site's update, exactly: {how}", True
        return "nothing", False


def configs_of(content: RecordDict) -> ConfigRecord:
    return content.config_records[RECORD_KEY_CONFIGS]


def masked_of(content: RecordDict) -> Masked:
    return [to_array(data) for data in cast(list[bytes], configs_of(content)[Key.MASKED_PARAMETERS])]


def opened_by_all(federation: Federation, active: Sequence[int], dead: Sequence[int]) -> list[Opened]:
    return [federation.unmask(node, active, dead) for node in federation.nodes]
