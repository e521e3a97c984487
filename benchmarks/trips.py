"""Where a round's seconds go: each trip to the hospitals, from the coordinator's receipts and their audit logs.

A trip begins when the last reply of the one before it was in. `out` ends when the last hospital's agent let its answer
go (waiting for the SuperNode's next look, the request's way, the hospital's own work); `back` ends when the coordinator
had it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise

from client.audit import Audit
from server.receipts import Receipts
from server.report.result import Result
from shared.receipts import Receipt
from simulations.processes import Processes


@dataclass(frozen=True)
class Trip:
    """One question to all hospitals and their answers; `step` as in the receipts."""

    round: int
    step: str
    out_s: float
    back_s: float


def print_trips(federation: Processes, result: Result) -> None:
    """The median trip of each kind."""
    trips = _trips(_receipts(federation, result.run), _sent(federation))
    kinds = list(dict.fromkeys(trip.step for trip in trips))
    print(f"{'seconds per trip':24}{'out':>10}{'back':>10}{'all':>10}")
    for kind in kinds:
        out = statistics.median(trip.out_s for trip in trips if trip.step == kind)
        back = statistics.median(trip.back_s for trip in trips if trip.step == kind)
        print(f"{kind:24}{out:10.2f}{back:10.2f}{out + back:10.2f}")


def _receipts(federation: Processes, run: str) -> list[Receipt]:
    return list(Receipts(federation.coordinator.runs / run / "receipts.jsonl").lines())


def _sent(federation: Processes) -> dict[str, float]:
    """When each answer left its agent, by its digest."""
    found = {}
    for name in federation.names:
        for entry in Audit(federation.site(name) / "audit.jsonl").entries():
            if entry.event == "sent":
                found[str(entry.facts["digest"])] = _seconds(str(entry.facts["at"]))
    return found


def _trips(receipts: Sequence[Receipt], sent: dict[str, float]) -> list[Trip]:
    groups = [list(group) for _, group in groupby(receipts, key=lambda receipt: (receipt.round, receipt.purpose))]
    trips, sum_of = [], groups[0][0].purpose
    for before, group in pairwise(groups):
        started, ended = (max(_seconds(receipt.at) for receipt in each) for each in (before, group))
        left = max(sent.get(receipt.sha256, started) for receipt in group)
        purpose = group[0].purpose
        helps = purpose in ("confirm", "unmask")
        sum_of = sum_of if helps else purpose
        trips.append(Trip(group[0].round, f"{sum_of} {purpose}" if helps else purpose, left - started, ended - left))
    return trips


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
