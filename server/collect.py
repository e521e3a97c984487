"""Send requests to hospitals and take the replies as they come in, over Flower's grid.

Guarantees: every request is answered by exactly one `Arrival`, its data or the problem; nothing waits longer than the
timeout; nothing is held that the caller has consumed.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from shared.relay import open_message, wrap

#: Seconds between looks at the grid; Flower's own `send_and_receive` looks every 3.
POLL_S = 0.05


@dataclass(frozen=True)
class Arrival:
    """What came of one request: `data` from `node`, or None and the `problem`."""

    node: int
    data: bytes | None
    problem: str = ""


class Link(Protocol):
    """How the coordinator reaches hospitals, each behind a node number."""

    def nodes(self) -> tuple[int, ...]:
        """The nodes connected now."""

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """Send each node its request; yield one arrival per node, in the order they come."""


class GridLink:
    """A `Link` over Flower's grid."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def nodes(self) -> tuple[int, ...]:
        """The nodes connected now."""
        return tuple(sorted(self._grid.get_node_ids()))

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """Send each node its request; yield one arrival per node, in the order they come."""
        messages = [
            Message(content=wrap(data), dst_node_id=node, message_type=MessageType.TRAIN, ttl=timeout_s + 60)
            for node, data in requests.items()
        ]
        sent = dict(zip(self._grid.push_messages(messages), requests, strict=True))
        deadline = time.monotonic() + timeout_s
        while sent and time.monotonic() < deadline:
            replies = list(self._grid.pull_messages(list(sent)))
            for message in replies:
                yield _arrival(sent.pop(message.metadata.reply_to_message_id), message)
            if not replies:
                time.sleep(POLL_S)
        for node in sent.values():
            yield Arrival(node, None, f"no answer within {timeout_s:g} s")


def _arrival(node: int, message: Message) -> Arrival:
    if message.has_error():
        return Arrival(node, None, f"failed with Flower error {message.error.code}")
    data = open_message(message)
    return Arrival(node, data) if data else Arrival(node, None, "answered without a Konsil reply")
