"""Send requests to hospitals and take the replies as they come in, over Flower's grid.

Guarantees: every request is answered by exactly one `Arrival`, its data or the problem; nothing waits longer than the
timeout; nothing is held that the caller has consumed.
"""

import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from flwr.app import Message, MessageType
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from shared.relay import PIECE, open_message, wrap

#: Seconds between looks at the grid; Flower's own `send_and_receive` looks every 3.
POLL_S = 0.05
#: Seconds a message lives beyond its asker's patience: clocks differ.
LINGER_S = 60.0
#: Seconds after which a lost request is sent again, if its node is there; and after which a node is given up.
PAUSE_S, GONE_S = 3.0, 45.0
#: Flower's words for a message that was lost on its way, or a process that died with it.
LOST = frozenset(
    {
        ErrorCode.MESSAGE_UNAVAILABLE,
        ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
        ErrorCode.NODE_UNAVAILABLE,
        ErrorCode.CLIENT_APP_CRASHED,
    }
)


@dataclass(frozen=True)
class Arrival:
    """What came of one request: `data` from `node`, or None and the `problem`; `lost` if it never reached anybody."""

    node: int
    data: bytes | None
    problem: str = ""
    lost: bool = False


class Link(Protocol):
    """How the coordinator reaches hospitals, each behind a node number."""

    def nodes(self) -> tuple[int, ...]:
        """The nodes connected now."""

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """Send each node its request; yield one arrival per node, in the order they come."""


class GridLink:
    """A `Link` over Flower's grid.

    Holds one request and one reply at a time, however many hospitals. A request that Flower says is lost is sent once
    more when its node is back, and any that is unanswered at half time: for a plan answered before a hospital sends
    the same bytes. A node that does not come back within GONE_S is not waited for.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def nodes(self) -> tuple[int, ...]:
        """The nodes connected now."""
        return tuple(sorted(self._grid.get_node_ids()))

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """Send each node its request; yield one arrival per node, in the order they come."""
        sent: dict[str, int] = {}
        lost: dict[int, float] = {}
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
                if arrival.lost:
                    lost.setdefault(arrival.node, time.monotonic())
                elif waiting.pop(arrival.node, None) is not None:
                    arrivals += 1
                    yield arrival
                del arrival  # not held while the next one is pulled
            yield from self._gone(lost, waiting)
            if not again and passed >= timeout_s / 2:
                self._push(waiting, timeout_s, sent)
                again = True
            if not arrivals:
                time.sleep(max(POLL_S, POLL_S * len(waiting) / 10))
            self._push(self._back(lost, waiting), timeout_s, sent)
        for node in waiting:
            yield Arrival(node, None, f"no answer within {timeout_s:g} s")

    def _gone(self, lost: dict[int, float], waiting: dict[int, bytes]) -> Iterator[Arrival]:
        """Give up on the nodes that have been away for too long."""
        for node, since in list(lost.items()):
            if time.monotonic() - since >= GONE_S:
                del lost[node]
                if waiting.pop(node, None) is not None:
                    yield Arrival(node, None, f"no longer connected, for {GONE_S:g} s")

    def _back(self, lost: dict[int, float], waiting: Mapping[int, bytes]) -> dict[int, bytes]:
        """The requests of nodes that are connected again, PAUSE_S after theirs was lost."""
        due = [node for node, since in lost.items() if time.monotonic() - since >= PAUSE_S]
        here = self.nodes() if due else ()
        for node in (back := [node for node in due if node in here]):
            del lost[node]
        return {node: waiting[node] for node in back if node in waiting}

    def _push(self, requests: Mapping[int, bytes], timeout_s: float, sent: dict[str, int]) -> None:
        """Send `requests`, one at a time; `sent` gains each one's number."""
        for node, data in requests.items():
            message = Message(
                content=wrap(data), dst_node_id=node, message_type=MessageType.TRAIN, ttl=timeout_s + LINGER_S
            )
            sent.update(dict.fromkeys(filter(None, self._grid.push_messages([message])), node))

    def _pull(self, message_id: str, node: int) -> Arrival | None:
        """The answer of `node` to that message, if it is in."""
        arrival = next((_arrival(node, message) for message in self._grid.pull_messages([message_id])), None)
        if arrival is not None and len(arrival.data or b"") > PIECE:
            gc.collect()  # Flower's HTTP responses hold themselves in cycles, each with a piece of the message
        return arrival


def _arrival(node: int, message: Message) -> Arrival:
    if message.has_error():
        code = message.error.code
        return Arrival(node, None, f"failed with Flower error {code}", lost=code in LOST)
    data = open_message(message)
    return Arrival(node, data) if data else Arrival(node, None, "answered without a Konsil reply")
