"""The ClientApp: a relay. It hands each message to the agent's socket and returns the answer; it judges and computes
nothing, and imports nothing heavier than flwr.

Guarantee: while the message lives, an agent that is being restarted is waited for and asked again with the same bytes;
for the same plan it gives the same answer and charges no patient twice (client/rounds.py, client/ledger).
"""

import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client import frames
from shared.errors import SiteError
from shared.relay import open_message, wrap

#: Seconds between tries while the agent is away.
RETRY_S = 0.5

#: request bytes, context, the moment (unix seconds) after which nobody waits for the answer → reply bytes
Deliver = Callable[[bytes, Context, float], bytes]


def make_relay(deliver: Deliver) -> ClientApp:
    """A ClientApp that answers every message by `deliver`."""
    relay = ClientApp()

    @relay.train()
    def handle(message: Message, context: Context) -> Message:
        request = open_message(message)
        until = message.metadata.created_at + message.metadata.ttl
        return Message(wrap(deliver(request or b"", context, until)), reply_to=message)

    return relay


def to_agent(request: bytes, context: Context, until: float) -> bytes:
    """The agent's answer, over the socket that this node's configuration names."""
    path = Path(str(context.node_config["socket"]))
    while True:
        try:
            return frames.ask(path, frames.MESSAGE, request, timeout_s=None)
        except SiteError:
            if time.time() > until:
                raise
            time.sleep(RETRY_S)


app = make_relay(to_agent)
