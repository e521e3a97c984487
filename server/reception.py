"""Who takes part: PROTOCOL.md step 0 at the coordinator.

Guarantees: a hospital is in only with a join record that its roster key signed for this very run, from the node whose
key the roster gives it; one key per hospital and run; waiting for hospitals ends.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from server.attendance import Members, Waiting
from server.collect import Arrival
from server.counted import CountedLink
from server.shown import said
from shared.crypto.roster import Roster
from shared.errors import KonsilError, PeerError
from shared.messages.replies import Joined, Refused, read_reply
from shared.messages.requests import Join, write_request
from shared.secagg.joining import JoinRecord, check_join
from shared.study import study_hash

#: Seconds between looks for hospitals that have not joined yet.
WELCOME_POLL_S = 0.2
#: the member behind a node, by its registered key; None if it is nobody's, "" where nodes are not registered
Owner = Callable[[int], str | None]
#: a hospital's name (its node, where no name is known) and what it said
Told = Callable[[str, str], None]


@dataclass
class Reception:
    """Invites over `link` with `invitation`; `members` is its book."""

    link: CountedLink
    invitation: Join
    roster: Roster
    owner: Owner
    members: Members
    _welcomed: bool = False
    _keys: dict[str, JoinRecord] = field(default_factory=dict)

    @property
    def awaited(self) -> bool:
        """Whether a hospital of the roster is neither in nor has declined for good."""
        return self.members.undecided > 0

    def welcome(self, timeout_s: float, *, waits: Told = lambda _name, _reason: None) -> dict[str, str]:
        """Wait until every hospital of the roster has joined or declined, `timeout_s` at most.

        One that said no for now is asked again, and `waits` told its reason once. The first welcome of a start waits
        for it as for one that is not there yet; later ones ask it, but do not wait. Returns who is not in and said why,
        by the hospital's name where it is known.
        """
        request = write_request(self.invitation)
        deadline = time.monotonic() + timeout_s
        problems: dict[str, str] = {}
        while self.awaited:
            now = time.monotonic()
            newcomers = [
                node for node in self.link.nodes() if self.members.to_invite(node, now) and self.owner(node) is not None
            ]
            for arrival in self.link.ask(dict.fromkeys(newcomers, request), max(0.0, deadline - now)):
                self._take(arrival, problems, waits)
            if time.monotonic() >= deadline or (self._welcomed and not self._coming()):
                break
            if self.awaited:
                time.sleep(WELCOME_POLL_S)
        self._welcomed = True
        return problems | {waiting.name: waiting.reason for waiting in self.members.waiting.values()}

    def _take(self, arrival: Arrival, problems: dict[str, str], waits: Told) -> None:
        """One answer to the invitation."""
        if arrival.data is None:
            return
        self.link.note(arrival, "", 0, "join")
        name, reason = f"node {arrival.node}", ""  # until it is known better
        try:
            body = read_reply(arrival.data)
            if isinstance(body, Refused):
                name, reason = self._name_of(arrival.node, body.site) or name, said(body.reason)
            elif isinstance(body, Joined):
                self._check(body.record, arrival.node)
                self.members.admit(body.record, arrival.node, lacks=body.lacks)
            else:
                reason = f"answered the invitation with {type(body).__name__}"
        except KonsilError as error:
            body, reason = None, said(str(error))
        if isinstance(body, Refused) and body.passing:
            self._wait(arrival.node, name, reason, waits)
        elif reason:
            self.members.turn_away(arrival.node, name, reason)
            problems[name] = reason

    def _coming(self) -> bool:
        """Whether a member's node is connected that is neither in, nor waiting, nor turned away."""
        members = self.members
        settled = {*members.nodes.values(), *members.waiting, *members.turned_away}
        return any(node not in settled and self.owner(node) is not None for node in self.link.nodes())

    def _name_of(self, node: int, claimed: str) -> str:
        """The member behind a refusal: by its node's key; where nodes are not registered, by its own word."""
        name = self.owner(node) or claimed
        return name if name in self.members.expected and name not in self.members.records else ""

    def _wait(self, node: int, name: str, reason: str, waits: Told) -> None:
        before = self.members.waiting.get(node)
        self.members.waiting[node] = Waiting(name, reason, time.monotonic())
        if before is None or before.reason != reason:
            waits(name, reason)

    def _check(self, record: JoinRecord, node: int) -> None:
        if self.owner(node) not in ("", record.site):
            raise PeerError("join", expected=f"one of {self.owner(node)}, whose node this is", got=record.site)
        check_join(
            record,
            self.roster,
            run=self.invitation.run,
            study_hash=study_hash(self.invitation.study),
            roster_hash=self.invitation.roster.digest(),
        )
        if self._keys.setdefault(record.site, record) != record:
            raise PeerError(f"join of {record.site}", expected="its one key for this run", got="a second one")
