"""A step without masks: each hospital's vector travels signed, inside TLS, and the coordinator reads it.

For the robust means alone, which compare single updates (server/strategies/robust.py). A study says so
(aggregation.adversary = "none"), a hospital's policy must allow it, and the report begins with it. Only training goes
this way: surveys and evaluations of such a study stay masked. shared/secagg knows nothing of it.

Guarantees: a vector counts once, for the plan and the site that signed it, and only with counts that one hospital can
have; what fails a check changed nothing. Not promised: that anybody but the hospital is kept from its update.

    opened = contribute(seat, plain, identity=identity)        # at the hospital
    collector.add(opened.contribution, opened.vector)          # at the coordinator
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from shared.crypto.identity import Identity, verify
from shared.crypto.roster import Roster, SiteName
from shared.errors import MisuseError, OperatorError, PeerError
from shared.secagg.collector import Total
from shared.secagg.member import Plain
from shared.secagg.messages import vector_digest
from shared.secagg.packing import add_packed, pack_words, packed_size
from shared.secagg.plan import Plan, Seat, check_cohort
from shared.update import check_one
from shared.wire import Record, pack, unpack

LABEL = "konsil/open-contribution/v1"


class OpenContribution(Record, frozen=True):
    """Site → coordinator, beside the packed vector. `counts`: 8 bytes each, little-endian. The signature covers the
    vector too."""

    plan: bytes
    site: SiteName
    counts: bytes
    signature: bytes


class Open(NamedTuple):
    """What to send: the encoded `OpenContribution`, and the packed vector beside it. There is no secret to keep."""

    state: None
    contribution: bytes
    vector: memoryview


def contribute(seat: Seat, plain: Plain, *, identity: Identity) -> Open:
    """`plain` as it is, signed. Raises MisuseError for a plan with masks."""
    plan = seat.plan
    if plan.adversary != "none":
        raise MisuseError("plan", expected="one without masks", got=plan.adversary)
    words = np.empty(plan.length, plan.dtype)
    plain.fill(0, words)
    vector, counts = pack_words(words, plan.bits), plain.counts.tobytes()
    signature = identity.sign(LABEL, *_signed(seat.digest, seat.own.site, counts, vector))
    message = OpenContribution(plan=seat.digest, site=seat.own.site, counts=counts, signature=signature)
    return Open(None, pack(message), vector)


class OpenCollector:
    """One step of one plan, at the coordinator. `most`: the largest weight of one hospital."""

    def __init__(self, plan: Plan, roster: Roster, *, most: int) -> None:
        """Raises PeerError for a plan that no honest site would answer, MisuseError for one with masks."""
        check_cohort(plan, roster)
        if plan.adversary != "none":
            raise MisuseError("plan", expected="one without masks", got=plan.adversary)
        self.plan, self.digest = plan, plan.digest()
        self._roster, self._most = roster, most
        self._parts: dict[str, Total] = {}

    def add(self, data: bytes | memoryview, vector: memoryview) -> str:
        """Check an encoded `OpenContribution` and keep it; the name of its site. Raises PeerError."""
        message, plan = unpack(OpenContribution, data), self.plan
        if message.plan != self.digest:
            raise PeerError("message", expected=f"plan {self.digest.hex()[:16]}", got=message.plan.hex()[:16])
        if message.site not in plan.sites() or message.site in self._parts:
            raise PeerError("message", expected="one of each member of the cohort", got=f"another of {message.site}")
        sizes = (len(message.counts), len(vector))
        if sizes != (8 * plan.counts, packed_size(plan.length, plan.bits)):
            raise PeerError(f"vector of {message.site}", expected="the plan's length", got=f"{sizes} bytes")
        parts = _signed(self.digest, message.site, message.counts, vector)
        verify(self._roster.identity(message.site), message.signature, LABEL, *parts)
        words = np.zeros(plan.length, plan.dtype)
        add_packed(words, vector, plan.bits)
        part = Total(np.frombuffer(message.counts, "<u8"), words)
        check_one(part, self._most, message.site)
        self._parts[message.site] = part
        return message.site

    def close(self) -> tuple[str, ...]:
        """Who is in, in order. Raises OperatorError for fewer than the plan's threshold."""
        if len(self._parts) < self.plan.threshold:
            raise OperatorError(
                f"round {self.plan.round}, attempt {self.plan.attempt}: contributions",
                expected=f"at least {self.plan.threshold} of {len(self.plan.cohort)} sites",
                got=f"{len(self._parts)}",
                do="Discard the round, see to the sites that dropped, and run it anew.",
            )
        return tuple(sorted(self._parts))

    def each(self) -> tuple[Total, ...]:
        """Every hospital's part, in the order of `close`."""
        return tuple(self._parts[site] for site in sorted(self._parts))


def total_of(each: Sequence[Total]) -> Total:
    """The sum of at least one part: what a masked step would have opened to."""
    words = each[0].words.copy()
    for part in each[1:]:
        words += part.words
    return Total(np.sum([part.counts for part in each], axis=0, dtype=np.uint64), words)


def _signed(plan: bytes, site: str, counts: bytes, vector: memoryview) -> tuple[bytes, ...]:
    return (plan, site.encode(), counts, vector_digest(vector))
