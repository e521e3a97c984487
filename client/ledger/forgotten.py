"""Whether a ledger has forgotten something: an older copy put back knows less than the audit log, which has a line for
each reservation.

Holds as far as the log does: if an older log was put back with the ledger, both forgot (docs/ledger.md says what then).
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from client.audit import Entry


@dataclass(frozen=True)
class Forgotten:
    """A reservation that is in the audit log at `line` and not in the ledger."""

    line: int
    at: str
    run: str
    round: int


def forgotten(log: Iterable[Entry], plans: Set[bytes]) -> tuple[Forgotten, ...]:
    """The reservations of `log` that `plans`, those that the ledger charged, lack, oldest first."""
    known = {plan.hex() for plan in plans}
    return tuple(
        Forgotten(entry.line, str(entry.facts.get("at")), str(entry.facts.get("run")), int(entry.facts.get("round", 0)))
        for entry in log
        if entry.event == "reserved" and entry.facts.get("plan") not in known
    )
