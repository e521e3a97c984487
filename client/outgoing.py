"""The door: every byte string that leaves this hospital passes here.

Guarantee: the audit log has a reply's digest, size and purpose on disk before anybody outside has a byte of it. Where
that line cannot be written nothing leaves but the plain refusal that says so.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass

from client.audit import Audit
from client.refusals import in_full, outwards, short
from shared.errors import KonsilError
from shared.messages.replies import write_reply
from shared.messages.requests import Heading


@dataclass(frozen=True)
class Leaving:
    """Bytes about to leave, and what the audit log says of them."""

    data: bytes
    purpose: str
    run: str
    round: int


class Outgoing:
    """The door of the hospital `site`, with its log."""

    def __init__(self, site: str, audit: Audit) -> None:
        self._site, self._audit = site, audit

    def let_go(self, leaving: Leaving) -> bytes:
        """The bytes, logged. Raises SiteError if they could not be."""
        self._audit.record(
            "sent",
            purpose=leaving.purpose,
            run=short(leaving.run),
            round=leaving.round,
            bytes=len(leaving.data),
            digest=hashlib.sha256(leaving.data).hexdigest(),
        )
        return leaving.data

    def refuse(self, error: KonsilError, about: Heading) -> bytes:
        """The refusal of the request `about`, logged where that can be done."""
        full = in_full(error, self._site)
        reply = write_reply(outwards(error, full))
        with suppress(OSError, ValueError, KonsilError):  # a full disk stops the work and its log, not the refusal
            self._audit.record("refused", what=full.reason, rule=full.rule, run=short(about.run), round=about.round)
            self.let_go(Leaving(reply, "refusal", about.run, about.round))
        return reply
