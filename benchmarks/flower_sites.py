"""Sites as Flower runs them: a real ClientApp behind `secaggplus_mod`, its state, and Flower's own wire format."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from flower_attack import EXAMPLES, Train, Vector
from flwr.app import Context, Message, RecordDict
from flwr.app.typing import ConfigRecordValues
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, Scalar
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_STATE
from flwr.common.serde import context_from_proto, context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage


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
