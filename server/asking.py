"""The members of one run, asked by name over their nodes.

Guarantees: each reply is noted before anything is done with it; a member that is silent is lost until it joins again,
and one that was lost is not asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.attendance import Members
from server.collect import Arrival
from server.counted import CountedLink
from shared.crypto.identity import Identity


@dataclass(frozen=True)
class Asking:
    """`members` asked over `link`, for `timeout_s` at most; `operator` signs what they are asked."""

    link: CountedLink
    members: Members
    operator: Identity
    timeout_s: float

    def ask(self, requests: Mapping[str, bytes], round_: int, purpose: str) -> Iterator[tuple[str, Arrival]]:
        """Each member's name and answer, as they come. The caller lets go of an answer before it takes the next."""
        nodes = self.members.nodes
        names = {nodes[name]: name for name in requests if name in nodes}
        encoded = {node: requests[name] for node, name in names.items()}
        for arrival in self.link.ask(encoded, self.timeout_s):
            name = names[arrival.node]
            self.link.note(arrival, name, round_, purpose)
            if arrival.data is None:
                self.members.lose(name)
            yield name, arrival
            del arrival  # as long as the model: not held while the next one comes in
