"""A link whose bytes are counted and whose replies are noted (server/receipts.py)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from server.collect import Arrival, Link
from server.receipts import Receipts


@dataclass
class Traffic:
    """Bytes of Konsil's messages to and from hospitals."""

    down: int = 0
    up: int = 0


@dataclass
class CountedLink:
    """`link` for one run."""

    link: Link
    run: str
    receipts: Receipts | None
    traffic: Traffic = field(default_factory=Traffic)

    def nodes(self) -> tuple[int, ...]:
        """The nodes connected now."""
        return self.link.nodes()

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """`Link.ask`, with the bytes counted."""
        self.traffic.down += sum(map(len, requests.values()))
        for arrival in self.link.ask(requests, timeout_s):
            self.traffic.up += len(arrival.data or b"")
            yield arrival
            del arrival  # not held while the next one comes in

    def note(self, arrival: Arrival, site: str, round_: int, asked: str) -> None:
        """Write a receipt of what came, before anything is done with it."""
        if self.receipts is not None and arrival.data is not None:
            self.receipts.note(arrival.data, node=arrival.node, site=site, run=self.run, round_=round_, asked=asked)
