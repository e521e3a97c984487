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
#: Seconds a message lives beyond its asker's patience: clocks differ.
LINGER_S = 60.0


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
    """A `Link` over Flower's grid.

    Holds one request and one reply at a time, however many hospitals. A request still unanswered at half time is sent
    once more: a node that was restarted has lost it, and for a plan answered before a hospital sends the same bytes.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def nodes(self) -> tuple[int, ...]:
        """The nodes connected now."""
        return tuple(sorted(self._grid.get_node_ids()))

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """Send each node its request; yield one arrival per node, in the order they come."""
        sent: dict[str, int] = {}
        waiting = dict(requests)
        started, again = time.monotonic(), False
        self._push(waiting, timeout_s, sent)
        while waiting and (passed := time.monotonic() - started) < timeout_s:
            arrivals = 0
            for message_id in list(sent):
                arrival = self._pull(message_id, sent[message_id])
                if arrival is None:
                    continue
                del sent[message_id]
                if waiting.pop(arrival.node, None) is not None:
                    arrivals += 1
                    yield arrival
                del arrival  # not held while the next one is pulled
            if not again and passed >= timeout_s / 2:
                self._push(waiting, timeout_s, sent)
                again = True
            if not arrivals:
                time.sleep(max(POLL_S, POLL_S * len(waiting) / 10))
        for node in waiting:
            yield Arrival(node, None, f"no answer within {timeout_s:g} s")

    def _push(self, requests: Mapping[int, bytes], timeout_s: float, sent: dict[str, int]) -> None:
        """Send `requests`, one at a time; `sent` gains each one's number."""
        for node, data in requests.items():
            message = Message(
                content=wrap(data), dst_node_id=node, message_type=MessageType.TRAIN, ttl=timeout_s + LINGER_S
            )
            sent.update(dict.fromkeys(filter(None, self._grid.push_messages([message])), node))

    def _pull(self, message_id: str, node: int) -> Arrival | None:
        """The answer of `node` to that message, if it is in."""
        return next((_arrival(node, message) for message in self._grid.pull_messages([message_id])), None)


def _arrival(node: int, message: Message) -> Arrival:
    if message.has_error():
        return Arrival(node, None, f"failed with Flower error {message.error.code}")
    data = open_message(message)
    return Arrival(node, data) if data else Arrival(node, None, "answered without a Konsil reply")
