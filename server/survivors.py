"""PROTOCOL.md steps 2 and 3: the survivors of a sum sign that they are its survivors, then help to open it.

Guarantee: a survivor that is silent, refuses, or sends what the protocol forbids is named with the reason; as long as
the plan's threshold of them answers, it stops nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.asking import Asking
from server.attendance import TooFewError
from server.shown import said
from shared.errors import PeerError
from shared.messages.replies import Answered, AnyReply, Confirmed, Refused, read_reply
from shared.messages.requests import Confirm, Unmask, write_request
from shared.secagg.collector import Collector

Take = Callable[[AnyReply], str]


@dataclass(frozen=True)
class Survivors:
    """The hospitals `names`, asked about the sum in `collector`; who is `missing` from it, and why."""

    asking: Asking
    collector: Collector
    names: tuple[str, ...]
    missing: Mapping[str, str]

    def confirm(self) -> dict[str, str]:
        """Step 2; returns who did not sign, and why. Raises TooFewError."""
        requests = {name: Confirm(request=self.collector.ask_confirm(name)) for name in self.names}

        def take(body: AnyReply) -> str:
            if not isinstance(body, Confirmed):
                raise PeerError("reply", expected="a confirmation", got=type(body).__name__)
            return self.collector.confirm(body.confirmation)

        silent = self._ask("confirm", requests, take)
        self.collector.settle()
        return silent

    def unmask(self) -> dict[str, str]:
        """Step 3; returns who did not help, and why. Raises TooFewError."""
        requests = {name: Unmask(request=self.collector.request(name)) for name in self.names}

        def take(body: AnyReply) -> str:
            if not isinstance(body, Answered):
                raise PeerError("reply", expected="an unmask answer", got=type(body).__name__)
            return self.collector.answer(body.answer)

        return self._ask("unmask", requests, take)

    def _ask(self, purpose: str, requests: Mapping[str, Confirm | Unmask], take: Take) -> dict[str, str]:
        """Hand each reply to `take`; returns whose was missing or wrong, and why."""
        plan = self.collector.plan
        silent = {name: "was lost before" for name in requests if name not in self.asking.members.nodes}
        encoded = {name: write_request(body, self.asking.operator) for name, body in requests.items()}
        for name, arrival in self.asking.ask(encoded, plan.round, purpose):
            problem = arrival.problem if arrival.data is None else _problem(arrival.data, take)
            if problem:
                silent[name] = problem
        answered = len(requests) - len(silent)
        if answered < plan.threshold:
            raise TooFewError(f"{plan.step} {purpose}", plan.threshold, answered, {**self.missing, **silent})
        return silent


def _problem(data: bytes, take: Take) -> str:
    """Hand one reply to `take`; returns what was wrong with it, or nothing."""
    try:
        body = read_reply(data)
        if isinstance(body, Refused):
            return said(body.reason)
        take(body)
    except PeerError as error:
        return said(str(error))
    return ""
