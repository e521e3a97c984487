"""One secure aggregate, from a task for a cohort to the sum over its survivors (PROTOCOL.md, steps 0 to 4).

Guarantees: a sum over fewer than the study's `min_sites` is never opened; a plan is kept before anybody sees it, and
its survivors before they are told, so that a coordinator that was stopped asks for the very same sum again.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict

from server.asking import Asking
from server.attendance import Members, TooFewError, step_kind
from server.collect import Link
from server.contributions import Contributions, Progress
from server.counted import CountedLink
from server.file_shelf import FileShelf
from server.open_plan import Desk, OpenPlan
from server.receipts import Receipts
from server.reception import Owner, Reception, Told
from server.survivors import Survivors
from shared.crypto.identity import Identity
from shared.crypto.roster import Roster
from shared.errors import OperatorError
from shared.layout import layout_for
from shared.messages.requests import Join
from shared.messages.shown import Shown, Spent
from shared.messages.tasks import STEP_OF, AnyTask, Task, payload_digest
from shared.open_sums import OpenCollector, total_of
from shared.secagg.collector import Collector, Total
from shared.secagg.plan import Plan
from shared.study import study_hash
from shared.terms import terms
from shared.wire import pack

#: The coordinator's cores are idle while it unmasks.
THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Sum:
    """The opened sum of one step, over `survivors`; who is missing and why, and for good or not."""

    opened: Total
    plan: Plan
    survivors: tuple[str, ...]
    shown: Mapping[str, Shown]
    missing: Mapping[str, str]
    #: who is in the sum but did not confirm its survivors; did not help to open it, or sent wrong shares; what happened
    unconfirmed: Mapping[str, str]
    unhelpful: Mapping[str, str]
    #: every survivor's own part, in their order, of a step without masks
    each: tuple[Total, ...] = ()

    @property
    def spent(self) -> dict[str, Spent]:
        """What the hospitals' ledgers say after the step, by name."""
        return {name: shown.spent for name, shown in self.shown.items() if shown.spent is not None}


class Aggregator:
    """Asks the members of one run, over `link`."""

    def __init__(
        self,
        link: Link,
        invitation: Join,
        roster: Roster,
        operator: Identity,
        *,
        receipts: Receipts | None = None,
        desk: Desk | None = None,
        owner: Owner = lambda _node: "",
        folder: Path | None = None,
    ) -> None:
        """`folder`: of the run, where the file of the study's model.init lies."""
        self.study, self.run = invitation.study, invitation.run
        self.layout = layout_for(self.study)
        self.expected = tuple(entry.name for entry in roster.entries)
        self.members = Members(self.expected)
        self._invitation, self._roster, self._hash = invitation, roster, study_hash(self.study)
        self._desk = desk or Desk()
        counted = CountedLink(link, self.run, receipts)
        self.traffic = counted.traffic
        self._reception = Reception(counted, invitation, roster, owner, self.members)
        self._asking = Asking(counted, self.members, operator, self.study.federation.timeout_s)
        self._contributions = Contributions(self._asking, roster, self.study, folder)

    @property
    def parameters(self) -> int:
        """Weights that move: the length of an update."""
        return self.layout.moving

    def welcome(self, timeout_s: float, *, waits: Told = lambda _name, _reason: None) -> dict[str, str]:
        """Wait for hospitals that may yet join (`Reception.welcome`); returns who is not in and said why."""
        return self._reception.welcome(timeout_s, waits=waits)

    def aggregate(self, task: AnyTask, *, round_: int, attempt: int, progress: Progress) -> Sum:
        """The sum of `task` over the members asked for it. Raises TooFewError; the plan is then spent."""
        step, kind, least = STEP_OF[type(task)], step_kind(task), self.study.federation.min_sites
        names = self.members.cohort(kind)
        if len(names) < least:
            raise TooFewError(step, least, len(names), self.members.absent(kind), may_pass=False)
        payload = pack(Task(body=task))
        opened = self._reopened(step, round_, payload)
        if opened is None:
            opened = OpenPlan(plan=self._plan(task, names, payload, round_=round_, attempt=attempt))
            self._desk.keep(opened.plan)
        del payload  # as long as the model; packed again for the request
        try:
            return self._open(opened, task, progress)
        except OperatorError:
            self._desk.clear()
            raise

    def _reopened(self, step: str, round_: int, payload: bytes) -> OpenPlan | None:
        """The plan that was open when the coordinator was stopped, if everybody it needs is here as they were."""
        opened = self._desk.recall(step, round_, payload_digest(payload))
        if opened is None or opened.plan.roster_hash != self._invitation.roster.digest():
            return None
        here = self.members.records
        if any(here.get(record.site) != record for record in opened.plan.cohort if record.site in opened.asked):
            return None
        return opened

    def _plan(self, task: AnyTask, names: Sequence[str], payload: bytes, *, round_: int, attempt: int) -> Plan:
        agreed = terms(self.study, task, payload_digest(payload), cohort=len(names), parameters=self.parameters)
        return Plan(
            **asdict(agreed),
            run=self.run,
            study_hash=self._hash,
            roster_hash=self._invitation.roster.digest(),
            round=round_,
            attempt=attempt,
            cohort=tuple(self.members.records[name] for name in names),
        )

    def _open(self, opened: OpenPlan, task: AnyTask, progress: Progress) -> Sum:
        """Collect and unmask one plan's sum. Raises TooFewError, or OperatorError for a sum that does not open."""
        plan, asked = opened.plan, opened.asked
        missing = self.members.absent(step_kind(task))
        if plan.adversary == "none":
            return self._open_each(opened, task, missing, progress)
        missing |= dict.fromkeys(set(plan.sites()) - set(asked), "had not answered before")
        with FileShelf(self._desk.folder) as shelf:
            collector = Collector(plan, self._roster, shelf)
            shown = self._contributions.collect(collector, opened, task, missing, progress)
            if len(shown) < self._least(plan) or (opened.survivors and len(shown) < len(asked)):
                raise TooFewError(plan.step, self._least(plan), len(shown), missing)
            survivors = Survivors(self._asking, collector, collector.close(), missing)
            self._desk.keep(plan, survivors.names)
            unconfirmed = survivors.confirm() if plan.adversary == "active" else {}
            silent = survivors.unmask()
            summed = collector.finish(threads=THREADS)
        faults = dict(fault.split(" ", 1) for fault in collector.faults)  # each begins with the name of its site
        return Sum(summed, plan, survivors.names, shown, missing, unconfirmed, unhelpful=silent | faults)

    def _open_each(self, opened: OpenPlan, task: AnyTask, missing: dict[str, str], progress: Progress) -> Sum:
        """Collect the single updates of a step without masks. Raises TooFewError."""
        plan = opened.plan
        collector = OpenCollector(plan, self._roster, most=self.study.federation.max_images)
        shown = self._contributions.collect(collector, opened, task, missing, progress)
        if len(shown) < self._least(plan):
            raise TooFewError(plan.step, self._least(plan), len(shown), missing)
        survivors, each = collector.close(), collector.each()
        return Sum(total_of(each), plan, survivors, shown, missing, {}, {}, each)

    def _least(self, plan: Plan) -> int:
        """Hospitals without whom the sum of `plan` is not opened."""
        return max(self.study.federation.min_sites, plan.threshold)
