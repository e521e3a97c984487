"""What a coordinator gains against Flower's own SecAgg+, by attack: each one is run against the installed Flower.

The sites are real ClientApps behind Flower's `secaggplus_mod`; every message and every site's state passes through
Flower's own wire format, and a site whose app raises keeps its old state, as under Flower's node. The server is
either Flower's `SecAggPlusWorkflow` itself or sends an honest round's messages with one thing wrong. An attack
counts as working where the code let it happen: a recovered update is compared with the true one bit for bit (the
numbers are chosen so that quantising is exact). Where Flower holds, the table says so.

Flower's documentation promises that the server can open only the sum and names no adversary. Rows marked "passive" need
a server that does nothing but follow the workflow; the others need one that lies, or a site that does.

    python benchmarks/secaggplus.py [--near] [--only PART_OF_A_NAME]
"""

import argparse
import base64
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, cast

import numpy as np
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.app.message_type import MessageType
from flwr.app.typing import ConfigRecordValues
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitIns, FitRes, NDArrays, Scalar, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common import bytes_to_ndarray as to_array
from flwr.common.constant import ErrorCode
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, RECORD_KEY_STATE, Key, Stage
from flwr.common.secure_aggregation.secaggplus_utils import (
    pseudo_rand_gen,
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.compat.common import recorddict_compat as compat
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp.grid import Grid
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

#: Flower's defaults (SecAggPlusWorkflow).
CLIPPING, TARGET, MODULUS, MAX_WEIGHT = 8.0, 1 << 22, 1 << 32, 1000.0
#: Half the maximal weight: update × weight is then a whole number of quanta, and quantising loses nothing.
EXAMPLES = 500
#: What a site's code or the workflow raises; anything else is a fault of this file.
RAISED = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, InvalidToken)

Vector = NDArray[np.float64]
Words = NDArray[np.uint32]
Masked = list[NDArray[np.int64]]
Train = Callable[[Vector], Vector]
KeyPair = tuple[bytes, bytes]
P = ParamSpec("P")
Outcome = tuple[str, bool]


@dataclass(frozen=True)
class Gain:
    """`works`: Flower's code let the attack happen. `seconds`: CPU-seconds of the attack, the harness with it."""

    attack: str
    gained: str
    works: bool
    seconds: float


ATTACKS: list[Callable[..., Gain]] = []


@contextlib.contextmanager
def flower_log() -> Iterator[list[str]]:
    """What Flower logs at WARNING and above, kept off the screen."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("flwr")
    handlers, logger.handlers = logger.handlers, [Keep(logging.WARNING)]
    try:
        yield lines
    finally:
        logger.handlers = handlers


@contextlib.contextmanager
def as_server() -> Iterator[None]:
    """This process is the server's task of run 1, as Flower wants to know before a message is made."""
    before = {name: getattr(TaskIdentity, name) for name in ("_task_id", "_run_id", "_node_id")}
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


def attack(name: str) -> Callable[[Callable[P, Outcome]], Callable[P, Gain]]:
    """Names an attack, times it, and lists it in ATTACKS."""

    def wrap(run: Callable[P, Outcome]) -> Callable[P, Gain]:
        @functools.wraps(run)
        def timed(*args: P.args, **kwargs: P.kwargs) -> Gain:
            start = time.process_time()
            with flower_log(), as_server():
                gained, works = run(*args, **kwargs)
            return Gain(name, gained, works, time.process_time() - start)

        ATTACKS.append(timed)
        return timed

    return wrap


def raised(action: Callable[[], object]) -> str:
    """What `action` raised, or nothing where it went through."""
    try:
        action()
    except RAISED as error:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    return ""


# --- The sites: Flower's mod, app, state and wire format ---


class Trainer(NumPyClient):
    """A site's training: one vector in, one vector out."""

    def __init__(self, train: Train, examples: int) -> None:
        self.train, self.examples = train, examples

    def fit(self, parameters: NDArrays, config: dict[str, Scalar]) -> tuple[NDArrays, int, dict[str, Scalar]]:  # noqa: ARG002
        return [self.train(parameters[0])], self.examples, {}


def over_wire(message: Message) -> Message:
    return message_from_proto(ProtoMessage.FromString(message_to_proto(message).SerializeToString()))


@dataclass
class Site:
    """One node. Its state is saved only when the app did not raise, as Flower's node does."""

    node: int
    train: Train
    examples: int = EXAMPLES
    context: Context = field(default_factory=lambda: Context(1, 0, {}, RecordDict(), {}))

    def answer(self, message: Message, app: ClientApp | None = None) -> Message:
        def client_fn(_: Context) -> Client:
            return Trainer(self.train, self.examples).to_client()

        state = context_from_proto(ProtoContext.FromString(context_to_proto(self.context).SerializeToString()))
        reply = (app or ClientApp(client_fn, mods=[secaggplus_mod]))(over_wire(message), state)
        self.context = state
        return over_wire(reply)

    def secrets(self) -> Mapping[str, ConfigRecordValues]:
        """The mod's record in the node's state."""
        return self.context.state.config_records[RECORD_KEY_STATE]


def update_of_site(node: int, size: int = 8) -> Vector:
    """Multiples of 1/256 in [-4, 4): exact in 2^22 steps over [-8, 8]."""
    return np.random.default_rng(node).integers(-1024, 1024, size) / 256


def constant(update: Vector) -> Train:
    return lambda _: update


# --- The coordinator: honest messages, each of which an attack may change ---


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


# --- The attacker's arithmetic: what follows from seeds and keys ---


def masks(seed: bytes, like: Masked) -> Masked:
    return pseudo_rand_gen(seed, MODULUS, get_parameters_shape(like))


def pair_seeds(private: bytes, keys: Mapping[int, KeyPair], without: int) -> dict[int, bytes]:
    """The seeds a node shares with its peers, from its first private key."""
    own = bytes_to_private_key(private)
    return {k: generate_shared_key(own, bytes_to_public_key(pair[0])) for k, pair in keys.items() if k != without}


def unmasked(vector: Masked, node: int, self_seed: bytes, pairs: Mapping[int, bytes]) -> Masked:
    """The node's quantised vector, from its masked one and all of its seeds."""
    plain = parameters_subtraction(vector, masks(self_seed, vector))
    for peer, seed in pairs.items():
        undo = parameters_subtraction if node > peer else parameters_addition
        plain = undo(plain, masks(seed, vector))
    return parameters_mod(plain, MODULUS)


def update_of(quantised: Masked) -> Vector:
    """One node's update, from its weight and its quantised weighted update."""
    weight, rest = factor_extract(quantised)
    return np.asarray(dequantize(rest, CLIPPING, TARGET)[0] * (TARGET / weight), np.float64)


def new_keys() -> tuple[KeyPair, KeyPair]:
    """(private, public): two pairs, as a node makes them."""
    (one, pub_one), (two, pub_two) = generate_key_pairs(), generate_key_pairs()
    private = (private_key_to_bytes(one), private_key_to_bytes(two))
    return private, (public_key_to_bytes(pub_one), public_key_to_bytes(pub_two))


def sealing_key(private: bytes, public: bytes) -> bytes:
    return generate_shared_key(bytes_to_private_key(private), bytes_to_public_key(public))


# --- Flower's own workflow over an in-process grid ---


@dataclass(frozen=True)
class Letter:
    """One question of the workflow and its answer; `error` where the site raised or was lost."""

    node: int
    stage: str
    reply: RecordDict
    error: str


class Wire(Grid):
    """Carries the workflow's messages to the sites and keeps what passed. A site in `lost` is silent from there on."""

    def __init__(
        self,
        sites: Mapping[int, Site],
        lost: Mapping[int, str] | None = None,
        tamper: Callable[[int, str, ConfigRecord], None] = lambda _node, _stage, _reply: None,
    ) -> None:
        self.sites, self.lost, self.tamper = sites, dict(lost or {}), tamper
        self.traffic: list[Letter] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:  # noqa: ARG002
        return [self._carry(message) for message in messages]

    def _carry(self, message: Message) -> Message:
        node, content = message.metadata.dst_node_id, RecordDict()
        stage = cast(str, configs_of(message.content)[Key.STAGE])
        error = "lost" if self._is_lost(node, stage) else ""
        if not error:
            try:
                reply = self.sites[node].answer(message)
                content = reply.content
                self.tamper(node, stage, configs_of(content))
            except RAISED as raised_there:
                error = f"{type(raised_there).__name__}: {raised_there}"
        self.traffic.append(Letter(node, stage, content, error))
        if error:
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, error), reply_to=message)
        return reply

    def _is_lost(self, node: int, stage: str) -> bool:
        stages = Stage.all()
        return node in self.lost and stages.index(stage) >= stages.index(self.lost[node])

    def replies(self, stage: str) -> dict[int, RecordDict]:
        return {each.node: each.reply for each in self.traffic if each.stage == stage and not each.error}

    def errors(self, stage: str) -> dict[int, str]:
        return {each.node: each.error for each in self.traffic if each.stage == stage and each.error}

    def get_node_ids(self) -> Iterable[int]:
        return list(self.sites)

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def workflow_round(federation: Federation, wire: Wire) -> Vector | None:
    """One round of SecAggPlusWorkflow with FedAvg: the new model, or None where the workflow halted."""
    manager, count = SimpleClientManager(), len(federation.nodes)
    for node in federation.nodes:
        manager.register(GridClientProxy(node, wire, 1))
    context = LegacyContext(
        Context(1, 0, {}, RecordDict(), {}),
        strategy=FedAvg(min_fit_clients=count, min_available_clients=count),
        client_manager=manager,
    )
    first = compat.parameters_to_arrayrecord(ndarrays_to_parameters([np.full(len(federation.model), np.nan)]), True)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = first
    SecAggPlusWorkflow(count, federation.threshold)(wire, context)
    end = compat.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], True)
    model = np.asarray(parameters_to_ndarrays(end)[0], np.float64)
    return None if np.isnan(model).all() else model


# --- 1. The mask seeds ---

BLOCK_BITS = 14
_SHIFT, _FACTOR = np.array(30, np.uint32), np.array(1812433253, np.uint32)
_STEPS = [np.array(i, np.uint32) for i in range(398)]


def spread(indices: Words) -> Words:
    """28-bit numbers as seeds: the top bit of each byte is 0, for a seed is the XOR of a base64 text's 4-byte words."""
    parts = [(indices >> np.uint32(7 * k) & np.uint32(127)) << np.uint32(8 * k) for k in range(4)]
    seeds: Words = parts[0] | parts[1] | parts[2] | parts[3]
    return seeds


def index_of(seed: int) -> int:
    """The inverse of `spread`."""
    return sum((seed >> 8 * k & 127) << 7 * k for k in range(4))


def first_words(seeds: Words) -> Words:
    """The first word numpy's RandomState draws from each seed: MT19937 seeded up to word 397, twisted, tempered."""
    word, scratch, second = seeds.copy(), np.empty_like(seeds), seeds
    for step in range(1, 398):
        np.right_shift(word, _SHIFT, out=scratch)
        np.bitwise_xor(scratch, word, out=scratch)
        np.multiply(scratch, _FACTOR, out=word)
        np.add(word, _STEPS[step], out=word)
        if step == 1:
            second = word.copy()
    mixed = (seeds & np.uint32(0x80000000)) | (second & np.uint32(0x7FFFFFFF))
    out: Words = word ^ (mixed >> np.uint32(1)) ^ ((mixed & np.uint32(1)) * np.uint32(0x9908B0DF))
    out ^= out >> np.uint32(11)
    out ^= (out << np.uint32(7)) & np.uint32(0x9D2C5680)
    out ^= (out << np.uint32(15)) & np.uint32(0xEFC60000)
    out ^= out >> np.uint32(18)
    return out


def seeds_drawing(first: int, blocks: Iterable[int]) -> list[int]:
    """Seeds whose first word is `first`, in these blocks of 2^14."""
    found: list[int] = []
    inside = np.arange(1 << BLOCK_BITS, dtype=np.uint32)
    for block in blocks:
        seeds = spread(inside + np.uint32(block << BLOCK_BITS))
        found += [int(seed) for seed in seeds[first_words(seeds) == first]]
    return found


def folded(shared: bytes) -> int:
    """The 32-bit seed Flower's pseudo_rand_gen makes of a shared key."""
    return functools.reduce(
        int.__xor__, (int.from_bytes(shared[i : i + 4], "little") for i in range(0, len(shared), 4))
    )


def blocks_around(site: Site, peer: bytes) -> range:
    """The 2^20 seeds around the one the site shares with this public key, read from the site's own state."""
    true = folded(sealing_key(cast(bytes, site.secrets()["sk1"]), peer))
    start = index_of(true) >> BLOCK_BITS & ~63
    return range(start, start + 64)


def passive_view() -> tuple[Federation, dict[int, KeyPair], dict[int, Masked], int]:
    """Flower's workflow, three sites, t = 2, the third lost after sharing; then only what passed over the wire.

    Returns the federation, the keys, the vectors of sites 1 and 2 with every mask off but the one between
    these two (subtracted by 1, added by 2), and the weight of site 1.
    """
    federation = Federation(3, threshold=2)
    wire = Wire(federation.sites, lost={3: Stage.COLLECT_MASKED_VECTORS})
    workflow_round(federation, wire)
    keys = {}
    for node, reply in wire.replies(Stage.SETUP).items():
        pair = configs_of(reply)
        keys[node] = (cast(bytes, pair[Key.PUBLIC_KEY_1]), cast(bytes, pair[Key.PUBLIC_KEY_2]))
    shares: dict[int, list[bytes]] = {node: [] for node in federation.nodes}
    for reply in wire.replies(Stage.UNMASK).values():
        owners = cast(list[int], configs_of(reply)[Key.NODE_ID_LIST])
        for owner, share in zip(owners, cast(list[bytes], configs_of(reply)[Key.SHARE_LIST]), strict=True):
            shares[owner].append(share)
    with_lost = pair_seeds(combine_shares(shares[3]), keys, 3)
    sent = wire.replies(Stage.COLLECT_MASKED_VECTORS)
    left = {
        node: unmasked(masked_of(reply), node, combine_shares(shares[node]), {3: with_lost[node]})
        for node, reply in sent.items()
    }
    examples = cast(int, sent[1].metric_records["fitres.num_examples"]["num_examples"])
    return federation, keys, left, round(examples / MAX_WEIGHT * TARGET)


@attack("mask seeds of 28 bits, from a non-cryptographic generator")
def short_seeds(near: bool = False) -> Outcome:
    """near: search only the 2^20 seeds around the true one and extrapolate.

    One unknown mask is one search. Several at once are out of its reach, so a passive coordinator needs all but two
    sites of a neighbourhood gone; one that lies has `repeated_bundle`.
    """
    federation, keys, left, weight = passive_view()
    blocks = blocks_around(federation.sites[1], keys[2][0]) if near else range(1 << 28 - BLOCK_BITS)
    begun = time.process_time()
    # The weight, masked by the first word drawn, is known: it follows from the number of images sent in the clear.
    candidates = seeds_drawing((weight - int(left[1][0][0])) % MODULUS, blocks)
    whole = (time.process_time() - begun) * (1 << 28 - BLOCK_BITS) / len(blocks)
    for seed in candidates:
        mask = masks(seed.to_bytes(4, "little"), left[1])
        plain = {
            1: parameters_mod(parameters_addition(left[1], mask), MODULUS),
            2: parameters_mod(parameters_subtraction(left[2], mask), MODULUS),
        }
        if all(np.array_equal(update_of(plain[node]), federation.truth[node]) for node in plain):
            how = (
                f"t = 2, one site lost; 2^28 seeds in {whole:.0f} CPU-s ({'extrapolated' if near else 'all searched'})"
            )
            return f"passive: both remaining sites' updates, exactly; {how}", True
    return "nothing", False


# --- 2. Lists of the unmask stage ---


def opened_by_all(federation: Federation, active: Sequence[int], dead: Sequence[int]) -> list[Opened]:
    return [federation.unmask(node, active, dead) for node in federation.nodes]


@attack("one unmask message names a node both alive and dead")
def alive_and_dead() -> Outcome:
    federation, victim = Federation(5, threshold=4), 5
    keys, masked = federation.until_masked()
    opened = opened_by_all(federation, federation.nodes, [victim])
    seed = combine_shares([each.seeds[victim] for each in opened])
    private = combine_shares([each.keys[victim] for each in opened])
    plain = unmasked(masked[victim], victim, seed, pair_seeds(private, keys, victim))
    return federation.verdict(victim, update_of(plain), "both its secrets come in one answer, for any t and n")


@attack("one survivor listed t times, all others called dead")
def one_survivor() -> Outcome:
    """No name stands in both lists and all sites see the same lists: the client counts entries, not nodes."""
    federation, victim = Federation(5, threshold=4), 5
    keys, masked = federation.until_masked()
    others = [node for node in federation.nodes if node != victim]
    opened = opened_by_all(federation, [victim] * federation.threshold, others)
    seed = combine_shares([each.seeds[victim] for each in opened])
    pairs = {}
    for node in others:
        private = combine_shares([each.keys[node] for each in opened])
        pairs[node] = sealing_key(private, keys[victim][0])
    plain = unmasked(masked[victim], victim, seed, pairs)
    return federation.verdict(victim, update_of(plain), "t is checked against the length of a list with repeats")


@attack("different dead lists to different sites, t at most half")
def split_views() -> Outcome:
    return split(threshold=3)


@attack("different dead lists to different sites, t over half")
def split_views_over_half() -> Outcome:
    return split(threshold=4)


def split(threshold: int) -> Outcome:
    """Sites 1-3 hear that the seventh is alive, 4-6 that it is dead."""
    federation, victim = Federation(7, threshold=threshold), 7
    keys, masked = federation.until_masked()
    others = federation.nodes[:-1]
    seeds = [federation.unmask(node, federation.nodes).seeds[victim] for node in others[:3]]
    shares = [federation.unmask(node, others, [victim]).keys[victim] for node in others[3:]]
    try:
        pairs = pair_seeds(combine_shares(shares), keys, victim)
        plain = unmasked(masked[victim], victim, combine_shares(seeds), pairs)
    except ValueError:
        return f"nothing: {len(seeds)} shares of {threshold} needed (but the coordinator names t)", False
    return federation.verdict(victim, update_of(plain), f"{threshold} shares of each secret, t = {threshold} of 7")


# --- 3. Thresholds ---


@attack("threshold 1, 0 or below")
def threshold_one() -> Outcome:
    """One site, alone in its cohort: no peer, no pair mask, and its own answer is its whole self seed."""
    took = []
    for threshold in (1, 0, -1):
        federation, victim = Federation(5, threshold=threshold), 5
        keys = federation.setup([victim])
        federation.share(victim, keys)
        masked = federation.collect(victim, [])
        seed = combine_shares([federation.unmask(victim, [victim]).seeds[victim]])
        if np.array_equal(update_of(unmasked(masked, victim, seed, {})), federation.truth[victim]):
            took.append(str(threshold))
    federation = Federation(3, threshold=0)
    ran = workflow_round(federation, Wire(federation.sites)) is not None
    workflow = f"Flower's workflow {'runs with 0 too' if ran else 'refuses 0'}"
    return f"one site's update, exactly, from that site alone, at t = {', '.join(took)}; {workflow}", len(took) == 3


# --- 4. Keys without signatures ---


@attack("public keys replaced by the coordinator")
def substituted_keys() -> Outcome:
    """The man in the middle between one site and all others, who finish their round without an error."""
    federation, victim = Federation(5, threshold=4), 5
    keys = federation.setup()
    peers = [node for node in federation.nodes if node != victim]
    fake = {node: new_keys() for node in federation.nodes}
    shown = {victim: {node: fake[node][1] for node in peers} | {victim: keys[victim]}}
    shown |= {node: keys | {victim: fake[victim][1]} for node in peers}
    bundles = [bundle for node in federation.nodes for bundle in federation.share(node, shown[node])]
    passed, read = [], []
    for bundle in bundles:
        if victim not in (bundle.source, bundle.to):
            passed.append(bundle)
            continue
        source, to = (
            sealing_key(fake[a][0][1], keys[b][1]) for a, b in ((bundle.to, bundle.source), (bundle.source, bundle.to))
        )
        plain = decrypt(source, bundle.ciphertext)
        if bundle.source == victim:
            read.append(share_keys_plaintext_separate(plain)[2])
        passed.append(Bundle(bundle.source, bundle.to, encrypt(to, plain)))
    masked = {node: federation.collect(node, passed) for node in federation.nodes}
    pairs = {node: sealing_key(fake[node][0][0], keys[victim][0]) for node in peers}
    found = update_of(unmasked(masked[victim], victim, combine_shares(read), pairs))
    # No site notices: the last stage goes through as in an honest round.
    opened_by_all(federation, federation.nodes, [])
    return federation.verdict(victim, found, "before any unmasking, and no site notices")


@attack("n − 1 invented nodes")
def sybils() -> Outcome:
    federation, victim = Federation(5, threshold=4), 5
    invented = {node: new_keys() for node in federation.nodes if node != victim}
    keys = federation.setup([victim]) | {node: pair[1] for node, pair in invented.items()}
    read = [
        share_keys_plaintext_separate(decrypt(sealing_key(invented[b.to][0][1], keys[victim][1]), b.ciphertext))[2]
        for b in federation.share(victim, keys)
    ]
    bundles = []
    for node, (private, _) in invented.items():
        share = create_shares(bytes(32), 4, 5)[0]
        plain = share_keys_plaintext_concat(node, victim, share, share)
        bundles.append(Bundle(node, victim, encrypt(sealing_key(private[1], keys[victim][1]), plain)))
    masked = federation.collect(victim, bundles)
    pairs = {node: sealing_key(private[0], keys[victim][0]) for node, (private, _) in invented.items()}
    found = update_of(unmasked(masked, victim, combine_shares(read), pairs))
    return federation.verdict(victim, found, "the site cannot tell a peer from an invention; no unmasking needed")


@attack("a key that is not on the curve, of another curve or no key")
def bad_keys() -> Outcome:
    good = generate_key_pairs()[1].public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    off_curve = b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n" % base64.b64encode(
        good[:-1] + bytes([good[-1] ^ 1])
    )
    other_curve = public_key_to_bytes(ec.generate_private_key(ec.SECP256R1()).public_key())
    x_key = x25519.X25519PrivateKey.generate().public_key()
    montgomery = x_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    reasons = []
    for bad in (off_curve, other_curve, montgomery, b"no key"):
        for place in (0, 1):
            federation = Federation(3, threshold=2)
            keys = federation.setup()
            pair = list(keys[2])
            pair[place] = bad
            shown = keys | {2: (pair[0], pair[1])}
            bundles: list[Bundle] = []

            def stages(
                federation: Federation = federation,
                keys: dict[int, KeyPair] = keys,
                shown: dict[int, KeyPair] = shown,
                bundles: list[Bundle] = bundles,
            ) -> None:
                federation.share(3, keys)
                bundles += federation.share(2, keys) + federation.share(1, shown)
                federation.collect(1, bundles)

            reasons.append(raised(stages))
    refused = sum(bool(reason) for reason in reasons)
    return (
        f"nothing: {refused} of {len(reasons)} refused by the key library (P-384 has no low-order points)",
        refused < 8,
    )


@attack("the same public key for two nodes, byte for byte")
def same_key_twice() -> Outcome:
    federation = Federation(5, threshold=4)
    keys = federation.setup()
    reason = raised(lambda: federation.share(3, keys | {4: (keys[2][0], keys[4][1])}))
    return f"nothing: {reason}", not reason


@attack("the same public key for two nodes, one with a line feed more")
def same_key_rewritten() -> Outcome:
    """One peer below and one above the site: their two masks are equal, one added and one subtracted."""
    federation, victim = Federation(5, threshold=4), 3
    keys = federation.setup()
    shown = dict(keys)
    for below, above in ((1, 4), (2, 5)):
        shown[above] = (keys[below][0] + b"\n", keys[above][1])
    bundles = [b for node in federation.nodes for b in federation.share(node, shown if node == victim else keys)]
    masked = {node: federation.collect(node, bundles) for node in federation.nodes}
    # An honest unmasking: every site is asked for the self seeds of all survivors.
    opened = opened_by_all(federation, federation.nodes, [])
    seed = combine_shares([each.seeds[victim] for each in opened])
    found = update_of(unmasked(masked[victim], victim, seed, {}))
    return federation.verdict(victim, found, "the pair masks cancel in the site itself; keys are compared as text")


# --- 6. Replays ---


@attack("a stage asked twice in one round")
def asked_twice() -> Outcome:
    federation = Federation(4, threshold=3)
    keys = federation.setup()
    bundles = federation.share_all(keys)
    again = [raised(lambda: federation.share(1, keys))]
    for node in federation.nodes:
        federation.collect(node, bundles)
    again.append(raised(lambda: federation.collect(1, bundles)))
    federation.unmask(1, federation.nodes)
    again.append(raised(lambda: federation.unmask(1, [1, 2, 3], [4])))
    refused = all("Abort secure aggregation" in reason for reason in again)
    return ("nothing: each stage answers once" if refused else f"answers: {again}"), not refused


@attack("messages of an old round played again")
def old_messages() -> Outcome:
    federation = Federation(4, threshold=3)
    keys = federation.setup()
    bundles = federation.share_all(keys)
    for node in federation.nodes[:3]:
        federation.collect(node, [b for b in bundles if b.source != 4])
    new = federation.setup()
    old_keys = raised(lambda: federation.share(1, keys))
    fresh = federation.share_all(new)
    old_bundles = raised(lambda: federation.collect(1, bundles))
    federation.collect(1, fresh)
    # The lists carry no round: those of the first, where 4 was lost, are as good in the second, where it is alive.
    taken = federation.unmask(1, [1, 2, 3], [4]).keys.keys() == {4}
    kept = "old keys and bundles refused (every round has fresh keys)" if old_keys and old_bundles else "all taken"
    return f"little: {kept}; the old unmask request is answered, a living node's key share with it", taken


@attack("messages of different rounds in one run of the stages")
def wrong_round() -> Outcome:
    federation = Federation(3, threshold=2)

    def stages() -> None:
        federation.round = "1"
        keys = federation.setup()
        federation.round = "7"
        bundles = federation.share_all(keys)
        federation.round = "3"
        federation.collect(1, bundles)
        federation.round = ""
        federation.unmask(1, federation.nodes)

    reason = raised(stages)
    return reason or "nothing by itself: the round (group_id) is never read (a run has its own state)", not reason


@attack("set up anew with one site fewer, the same model")
def restart_with_fewer() -> Outcome:
    """No record of what was answered: the same update is masked for a second cohort; the sums differ by one."""
    federation, victim = Federation(4, threshold=3), 4
    _, masked = federation.until_masked()
    with_all = federation.summed(masked)
    keys = federation.setup(federation.nodes[:3])
    bundles = federation.share_all(keys)
    fewer = federation.summed({node: federation.collect(node, bundles) for node in keys})
    plain = parameters_mod(parameters_subtraction(with_all, fewer), MODULUS)
    return federation.verdict(victim, update_of(plain), "two sums over the same updates (training must repeat itself)")


# --- 7. What the coordinator alone decides ---


@attack("all other sites' weights set to zero by the set-up")
def weights_zeroed() -> Outcome:
    """The maximal weight is any number, told to each site apart: 500 of 10^12 rounds to nothing."""
    federation, victim = Federation(5, threshold=4), 5
    keys = federation.setup([victim]) | federation.setup(federation.nodes[:4], {Key.MAX_WEIGHT: 1e12})
    bundles = federation.share_all(keys)
    total = federation.summed({node: federation.collect(node, bundles) for node in keys})
    # A site of weight zero still adds the quantised zero, which is known.
    zero = round(CLIPPING * TARGET / (2 * CLIPPING))
    plain = [total[0], parameters_mod([total[1] - 4 * zero], MODULUS)[0]]
    return federation.verdict(victim, update_of(plain), "the sum of an otherwise honest round is this site's alone")


@attack("modulus 2: masks of zeros")
def modulus_two() -> Outcome:
    """Masks are drawn from [0, modulus − 2]; a tiny maximal weight makes one bit of each parameter its sign."""
    federation, victim = Federation(5, threshold=4), 5
    keys = federation.setup(changed={Key.MOD_RANGE: 2, Key.TARGET_RANGE: 1, Key.MAX_WEIGHT: 1e-6})
    masked = federation.collect(victim, federation.share_all(keys))
    truth = federation.truth[victim]
    works = bool(np.array_equal(masked[1][truth != 0] == 1, truth[truth != 0] > 0))
    return ("the sign of every parameter of one site, from its masked vector alone" if works else "nothing"), works


@attack("different models to different sites")
def different_models() -> Outcome:
    """v·relu(w·x + b): where the model sent has b = −8, no gradient flows and the site returns what it was sent."""
    federation, victim, features = Federation(4, threshold=3, size=6), 4, 4

    def trained(seed: int) -> Train:
        inputs = np.random.default_rng(seed).random((16, features))

        def step(model: Vector) -> Vector:
            weights, bias, scale = model[:features], model[features], model[features + 1]
            alive = inputs @ weights + bias > 0
            error = scale * np.maximum(inputs @ weights + bias, 0) - inputs.sum(1)
            slope = error * scale * alive
            gradient = np.concatenate([slope @ inputs, [slope.sum()], [error @ np.maximum(inputs @ weights + bias, 0)]])
            return np.asarray(model - 0.1 * gradient / len(inputs), np.float64)

        return step

    for node, site in federation.sites.items():
        site.train = trained(node)
    honest, dead = np.full(features + 2, 0.5), np.full(features + 2, 0.5)
    dead[features] = -8
    keys = federation.setup()
    bundles = federation.share_all(keys)
    masked = {node: federation.collect(node, bundles, honest if node == victim else dead) for node in federation.nodes}
    weight, rest = factor_extract(federation.summed(masked))
    sums = np.asarray(rest[0]) * (2 * CLIPPING / TARGET) - len(masked) * CLIPPING
    found = (sums - 3 * dead * EXAMPLES / MAX_WEIGHT) * 4 * TARGET / weight
    truth = federation.sites[victim].train(honest)
    error, moved = np.abs(found - truth).max(), np.abs(truth - honest).max()
    works = bool(error < 1e-3 * moved)
    return f"one site's update to {error:.0e} (it moved by {moved:.2f}): nothing says all got one model", works


@attack("the message type train.default")
def unmasked_type() -> Outcome:
    """An app with `@app.train()` answers "train" and "train.default" alike; the mod masks only "train"."""
    federation, victim = Federation(3, threshold=2), 3
    app = ClientApp(mods=[secaggplus_mod])

    @app.train()
    def train(message: Message, _: Context) -> Message:
        update = ndarrays_to_parameters([federation.truth[victim]])
        result = FitRes(Status(Code.OK, ""), update, EXAMPLES, {})
        return Message(compat.fitres_to_recorddict(result, True), reply_to=message)

    site = federation.sites[victim]
    masked_type = raised(lambda: site.answer(federation.message(victim, "none", {}, federation.model), app))
    message = federation.message(victim, Stage.SETUP, {}, federation.model, kind=f"{MessageType.TRAIN}.default")
    reply = site.answer(message, app).content
    arrays = parameters_to_ndarrays(compat.recorddict_to_fitres(reply, True).parameters)
    old_style = raised(lambda: site.answer(message))
    works = bool(np.array_equal(arrays[0], federation.truth[victim])) and bool(masked_type)
    note = "an app made from client_fn refuses it" if old_style else "an app made from client_fn too"
    return (f"one site's update in the clear, where the app uses @app.train(); {note}" if works else "nothing"), works


@attack("the number of a site's images, though weights are masked")
def examples_in_the_clear() -> Outcome:
    federation = Federation(3, threshold=2)
    wire = Wire(federation.sites)
    federation.sites[2].examples = 137
    workflow_round(federation, wire)
    reply = wire.replies(Stage.COLLECT_MASKED_VECTORS)[2]
    sent = reply.metric_records["fitres.num_examples"]["num_examples"]
    return f"passive: {sent} images at site 2, in the reply beside the masked weight", sent == 137


# --- 8. Wrong sums and crashes ---


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


# --- 9. Bundles on their way ---


@attack("bundles cut short, swapped or relabelled on the way")
def changed_bundles() -> Outcome:
    reasons = []
    for change in ("cut", "swapped", "relabelled"):
        federation = Federation(4, threshold=3)
        bundles = federation.share_all(federation.setup())
        first, second = [bundle for bundle in bundles if bundle.to == 1][:2]
        elsewhere = next(bundle for bundle in bundles if bundle.source == first.source and bundle.to != 1)
        changed = {
            "cut": [Bundle(first.source, 1, first.ciphertext[:-10]), second],
            "swapped": [Bundle(first.source, 1, elsewhere.ciphertext), second],
            "relabelled": [Bundle(second.source, 1, first.ciphertext), Bundle(first.source, 1, second.ciphertext)],
        }[change]
        reasons.append(raised(functools.partial(federation.collect, 1, changed)))
    refused = all(reason == "InvalidToken" for reason in reasons)
    # The mod trains first and opens the bundles then.
    return f"nothing: {', '.join(reasons)}, once it has trained; that site is out of the round", not refused


@attack("one bundle handed over t − 1 times, the others kept back")
def repeated_bundle() -> Outcome:
    """The bundles are counted with repeats: one peer's mask, t − 1 times over, is all that covers the update.

    Five times a number is undone modulo 2^32, so the search is that of `short_seeds`, here near the true seed.
    """
    federation, victim, times = Federation(9, threshold=6), 9, 5
    keys = federation.setup()
    bundles = federation.share_all(keys)
    only = [bundle for bundle in bundles if bundle.to == victim and bundle.source == 1]
    masked = {node: federation.collect(node, bundles) for node in federation.nodes[:-1]}
    masked[victim] = federation.collect(victim, only * times)
    opened = [federation.unmask(node, federation.nodes) for node in masked if node != victim]
    left = unmasked(masked[victim], victim, combine_shares([each.seeds[victim] for each in opened]), {})
    covered = int(left[0][0]) - round(EXAMPLES / MAX_WEIGHT * TARGET)
    first = covered * pow(times, -1, MODULUS) % MODULUS
    for seed in seeds_drawing(first, blocks_around(federation.sites[victim], keys[1][0])):
        pairs = zip(left, masks(seed.to_bytes(4, "little"), left), strict=True)
        plain = parameters_mod([array - times * mask for array, mask in pairs], MODULUS)
        if np.array_equal(update_of(plain), federation.truth[victim]):
            return "one site's update, exactly: one seed of 28 bits covers it, whatever t is (searched as above)", True
    return "nothing", False


# --- 10. What lies about and what it costs ---


@attack("secrets in the framework's context, in the clear, after the round")
def secrets_in_context() -> Outcome:
    """The node's state after the round and the masked vector as sent give the update."""
    federation, victim = Federation(3, threshold=2), 3
    _, masked = federation.until_masked()
    federation.summed(masked)
    secrets = federation.sites[victim].secrets()
    names = cast(list[int], secrets["public_keys_dict:K"])
    flat = cast(list[bytes], secrets["public_keys_dict:V"])
    keys = {node: (flat[2 * i], flat[2 * i + 1]) for i, node in enumerate(names)}
    pairs = pair_seeds(cast(bytes, secrets["sk1"]), keys, victim)
    found = update_of(unmasked(masked[victim], victim, cast(bytes, secrets["rd_seed"]), pairs))
    return federation.verdict(victim, found, "to whoever reads the node's state (sk1, sk2, rd_seed); not over the wire")


@attack("bytes on the wire for each parameter")
def bytes_per_parameter(parameters: int = 10_000) -> Outcome:
    federation = Federation(3, threshold=2, size=parameters)
    keys = federation.setup()
    bundles = federation.share_all(keys)
    mine = [bundle for bundle in bundles if bundle.to == 1]
    lists = {Key.CIPHERTEXT_LIST: [b.ciphertext for b in mine], Key.SOURCE_LIST: [b.source for b in mine]}
    message = federation.message(1, Stage.COLLECT_MASKED_VECTORS, lists, federation.model)
    reply = message_to_proto(federation.sites[1].answer(message)).ByteSize()
    each = reply / parameters
    return f"{each:.2f} bytes each (int64), where values are below 2^32", each >= 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--near", action="store_true", help="search 2^20 of the 2^28 mask seeds and extrapolate")
    parser.add_argument("--only", default="", help="attacks whose name has this in it")
    options = parser.parse_args()
    print(f"{'attack on SecAgg+':68}{'works':7}{'CPU-s':>7}  gained")
    for run in ATTACKS:
        gain = run(near=options.near) if run is short_seeds else run()
        print(f"{gain.attack:68}{'yes' if gain.works else 'no':7}{gain.seconds:7.2f}  {gain.gained}", flush=True)


if __name__ == "__main__":
    main()
