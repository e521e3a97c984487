"""Hospitals in this process behind the coordinator's own `Link`, with faults where a test wants them.

The requests and replies are the real bytes, the sites are real `Site`s on real homes; only Flower is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from client.site import Site
from server.collect import Arrival
from shared.messages.requests import Confirm, Join, Step, read_request

#: What happens to one request: the reply to send instead, or None to drop it. `serve` asks the real site.
Fault = Callable[[bytes, Callable[[bytes], bytes]], bytes | None]


@dataclass(frozen=True)
class Moment:
    """Where a fault strikes: the node, the step ("join", "survey", "train", "evaluate", "confirm", "unmask"), the
    round."""

    node: int
    step: str
    round: int | None = None


class LocalLink:
    """A `Link` to `sites`, node k being site k; `faults` by moment (a moment without a round strikes in every)."""

    def __init__(self, sites: Sequence[Site], faults: Mapping[Moment, Fault] | None = None) -> None:
        self._sites = sites
        self._faults = dict(faults or {})
        #: every request and reply, in order, as an eavesdropper would see them
        self.traffic: list[tuple[int, bytes, bytes | None]] = []

    def nodes(self) -> tuple[int, ...]:
        """All of them, always."""
        return tuple(range(len(self._sites)))

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """Serve each node in turn; a dropped request is a time-out that has already passed."""
        for node, request in requests.items():
            reply = self._serve(node, request)
            self.traffic.append((node, request, reply))
            yield Arrival(node, reply, "" if reply is not None else f"no answer within {timeout_s:g} s")

    def _serve(self, node: int, request: bytes) -> bytes | None:
        site, at = self._sites[node], _moment(node, request)
        fault = self._faults.get(at) or self._faults.get(Moment(node, at.step))
        return site.handle(request) if fault is None else fault(request, site.handle)


def _moment(node: int, request: bytes) -> Moment:
    body = read_request(request)
    if isinstance(body, Step):
        return Moment(node, body.plan.step, body.plan.round)
    if isinstance(body, Join):
        return Moment(node, "join")
    return Moment(node, "confirm" if isinstance(body, Confirm) else "unmask")


def lost(_request: bytes, _serve: Callable[[bytes], bytes]) -> bytes | None:
    """The request never arrives."""
    return None


def reply_lost(request: bytes, serve: Callable[[bytes], bytes]) -> bytes | None:
    """The site does its work; its reply never arrives."""
    serve(request)
    return None


def altered(at: int) -> Fault:
    """One byte of the reply, counted from its end, is changed on the way."""

    def fault(request: bytes, serve: Callable[[bytes], bytes]) -> bytes | None:
        reply = bytearray(serve(request))
        reply[-at] ^= 1
        return bytes(reply)

    return fault
