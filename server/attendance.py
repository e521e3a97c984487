"""Who takes part in a run, who does not, and who may yet: the coordinator's book of its hospitals. No I/O.

A hospital that declined for good is not asked again. One that said no for now (its people have not decided, or it is in
quiet hours) waits: it is asked again, but no more often than every ASK_AGAIN_S.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from server.shown import said
from shared.errors import OperatorError
from shared.messages.replies import Refused
from shared.messages.tasks import STEP_OF, AnyTask, EvaluateTask
from shared.secagg.joining import JoinRecord

#: Seconds between two invitations to a hospital that said no for now.
ASK_AGAIN_S = 3.0


class TooFewError(OperatorError):
    """A step that too few hospitals answered; `missing` says who did not and why; `may_pass` if asking
    again could help."""

    def __init__(self, step: str, least: int, got: int, missing: Mapping[str, str], *, may_pass: bool = True) -> None:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(missing.items()))
        super().__init__(
            f"{step} step",
            expected=f"at least {least} hospitals",
            got=f"{got} ({reasons or 'nobody joined'})",
            do="See each reason; --resume goes on from the last checkpoint.",
        )
        self.step, self.missing, self.may_pass = step, dict(missing), may_pass


class Waiting(NamedTuple):
    """A hospital (its node, where no name is known) that said no for now: why, and when (monotonic seconds)."""

    name: str
    reason: str
    asked: float


@dataclass
class Members:
    """Who has joined the run: the signed join record and the Flower node behind each name."""

    expected: tuple[str, ...] = ()
    records: dict[str, JoinRecord] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    #: names that need the study's start weights, and have said that they are not there
    lacking: set[str] = field(default_factory=set)
    #: names whose policy refuses parts of this study, with the rule's sentence, by kind of step
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    #: names (nodes, where no name is known) that take no part in this run, and why
    declined: dict[str, str] = field(default_factory=dict)
    #: nodes that said no for now
    waiting: dict[int, Waiting] = field(default_factory=dict)
    turned_away: set[int] = field(default_factory=set)

    def cohort(self, kind: str) -> tuple[str, ...]:
        """The names to ask for a step of `kind`, sorted."""
        return tuple(sorted(name for name in self.records if (name, kind) not in self.refused))

    @property
    def undecided(self) -> int:
        """How many hospitals of the roster are neither in nor have declined for good."""
        return len(self.expected) - len({*self.records, *self.declined})

    def to_invite(self, node: int, now: float) -> bool:
        """Whether `node` is to be asked to join now."""
        waits = self.waiting.get(node)
        known = node in self.turned_away or node in self.nodes.values()
        return not known and (waits is None or now - waits.asked >= ASK_AGAIN_S)

    def admit(self, record: JoinRecord, node: int, *, lacks: bool = False) -> None:
        """`record`, checked by the caller, came from `node`; whether it `lacks` the study's start weights."""
        (self.lacking.add if lacks else self.lacking.discard)(record.site)
        self.declined.pop(record.site, None)
        self.waiting.pop(node, None)
        self.nodes[record.site] = node
        self.records[record.site] = record

    def turn_away(self, node: int, name: str, reason: str) -> None:
        """Never ask `node` again."""
        self.waiting.pop(node, None)
        self.turned_away.add(node)
        self.declined[name] = reason

    def lose(self, name: str) -> None:
        """A silent hospital is invited again before the next round; until it answers, nobody waits for it."""
        self.records.pop(name, None)
        self.nodes.pop(name, None)

    def refuse(self, name: str, kind: str, refusal: Refused, now: float) -> None:
        """A policy's no to one `kind` of step holds for the run; a no for now, from `now` (monotonic seconds) until the
        hospital joins again; one for want of the start weights, until they are sent with the same plan."""
        reason = said(refusal.reason)
        if refusal.lacks:
            self.lacking.add(name)
        if refusal.passing:
            node = self.nodes[name]
            self.lose(name)
            self.waiting[node] = Waiting(name, reason, now)
        elif refusal.rule:
            self.refused[name, kind] = reason

    def absent(self, kind: str) -> dict[str, str]:
        """Who is not asked for a step of `kind`, and why."""
        waits = {waiting.name: waiting.reason for waiting in self.waiting.values()}
        gone = {
            name: self.declined.get(name) or waits.get(name) or "has not joined"
            for name in self.expected
            if name not in self.records
        }
        return gone | {site: reason for (site, at), reason in self.refused.items() if at == kind}


def step_kind(task: AnyTask) -> str:
    """What a hospital says no to for good: a step, and of evaluations those of one split, whose patients it counts."""
    step = STEP_OF[type(task)]
    return f"{step} {task.split}" if isinstance(task, EvaluateTask) else step
