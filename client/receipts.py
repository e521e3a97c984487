"""The coordinator's log of what it received, held against this hospital's own log of what it sent. No I/O.

Rules:
1. Every reply received in this hospital's name was sent by it: same digest, same size, same purpose. Else: an alarm.
2. What was sent in the runs of that log and not received was lost on the way: information, no alarm.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from client.audit import Entry
from shared.receipts import Receipt

#: What a line of bytes that left tells; one without is not ours, and vouches for nothing.
_TOLD = {"at", "digest", "bytes", "purpose", "run", "round"}


@dataclass(frozen=True)
class Comparison:
    """How many replies are in both logs; what was received but never sent so, in words; what was lost, in words."""

    matched: int
    alarms: tuple[str, ...]
    lost: tuple[str, ...]


def compare(site: str, sent: Iterable[Entry], received: Iterable[Receipt]) -> Comparison:
    """The two logs, for the hospital `site`."""
    known = {
        str(entry.facts["digest"]): entry for entry in sent if entry.event == "sent" and entry.facts.keys() >= _TOLD
    }
    got: set[str] = set()
    runs: set[str] = set()
    alarms = []
    for receipt in received:
        runs.add(receipt.run)
        if receipt.site != site:
            continue
        got.add(receipt.sha256)
        problem = _problem(receipt, known.get(receipt.sha256))
        if problem:
            alarms.append(f"{receipt.at} {_what(receipt.purpose, receipt.run, receipt.round)}: {problem}")
    lost = tuple(
        f"line {entry.line}, {entry.facts['at']} "
        + _what(entry.facts["purpose"], entry.facts["run"], entry.facts["round"])
        for digest, entry in known.items()
        if str(entry.facts["run"]) in runs and digest not in got
    )
    return Comparison(len(got & known.keys()), tuple(alarms), lost)


def _problem(receipt: Receipt, entry: Entry | None) -> str:
    if entry is None:
        return f"{receipt.bytes} bytes that this hospital never sent"
    facts = entry.facts
    if (facts["bytes"], facts["purpose"]) != (receipt.bytes, receipt.purpose):
        return f"received as {receipt.bytes} bytes, but sent as {facts['bytes']} bytes for {facts['purpose']}"
    return ""


def _what(purpose: str, run: str, round_: int) -> str:
    return f"{purpose} of run {run}, round {round_}"
