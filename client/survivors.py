"""PROTOCOL.md steps 2 and 3 at the hospital: of one plan it signs one survivor set, ever, and helps to open one sum.

Rules: who asks speaks for the run's coordinator; what was answered before is answered again, and nothing else
(client/rounds.py); the survivors satisfy the policy; a new answer is on disk before it leaves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from client.audit import Audit
from client.consent import Consent
from client.home import Home
from client.outgoing import Leaving
from client.rounds import Asked, Rounds
from shared.crypto.identity import Identity
from shared.messages.replies import Answered, Confirmed, write_reply
from shared.messages.requests import Confirm, Unmask, check_operator
from shared.secagg.member import RoundState, confirm, unmask
from shared.secagg.messages import ConfirmRequest, UnmaskRequest
from shared.secagg.plan import SiteRules
from shared.wire import unpack


class Maker(Protocol):
    """`member.confirm` or `member.unmask`."""

    def __call__(self, state: RoundState, request: bytes, *, identity: Identity, rules: SiteRules) -> bytes:
        """The answer to `request`."""


@dataclass(frozen=True)
class Survivors:
    """The answers of the hospital in `home` about the survivors of plans in `rounds`."""

    home: Home
    rounds: Rounds
    consent: Consent
    audit: Audit

    def confirm(self, body: Confirm) -> Leaving:
        """Step 2: one survivor set per plan."""
        request, rounds = unpack(ConfirmRequest, body.request), self.rounds
        signed, found = self._once(
            body, request, "confirm", recall=rounds.confirmation, make=confirm, keep=rounds.confirm
        )
        return Leaving(write_reply(Confirmed(confirmation=signed)), "confirm", found.run, found.round)

    def unmask(self, body: Unmask) -> Leaving:
        """Step 3: once per plan, ever."""
        request, rounds = unpack(UnmaskRequest, body.request), self.rounds
        answer, found = self._once(body, request, "unmask", recall=rounds.answer, make=unmask, keep=rounds.close)
        return Leaving(write_reply(Answered(answer=answer)), "unmask", found.run, found.round)

    def _once(
        self,
        body: Confirm | Unmask,
        request: ConfirmRequest | UnmaskRequest,
        purpose: str,
        *,
        recall: Callable[[bytes, Sequence[str]], Asked],
        make: Maker,
        keep: Callable[[bytes, Sequence[str], bytes], bytes],
    ) -> tuple[bytes, Asked]:
        """What was answered before about these survivors, or what `make` makes now: on disk before it leaves."""
        found = recall(request.plan, request.survivors)
        check_operator(body, self.rounds.joined(found.run).operator)
        if found.stored is not None:
            return found.stored, found
        made = make(found.need(), body.request, identity=self.home.identity, rules=SiteRules())
        self.consent.to_sites(request.survivors, "survivors")
        kept = keep(request.plan, request.survivors, made)
        self.audit.record("answered", purpose=purpose, run=found.run, round=found.round, plan=request.plan.hex())
        return kept, found
