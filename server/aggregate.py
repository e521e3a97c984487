"""One secure aggregate, from a task for a cohort to the sum over its survivors (PROTOCOL.md, steps 0 to 4).

Guarantees: a hospital that does not answer, refuses, or sends what the protocol forbids is left out with a reason and
stops nobody else; a sum over fewer than the study's `min_sites` is never opened.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict, replace

from server.attendance import Members, Waiting
from server.collect import Arrival, Link
from server.counted import CountedLink
from server.file_shelf import FileShelf
from server.initial import file_of
from server.open_plan import Desk, OpenPlan
from server.receipts import Receipts
from server.reception import Owner, Reception, Told
from server.shown import check_shown, said
from shared import messages
from shared.crypto.identity import Identity
from shared.crypto.roster import Roster
from shared.errors import OperatorError, PeerError
from shared.layout import layout_for
from shared.messages import (
    STEP_OF,
    Answered,
    AnyReply,
    AnyTask,
    Confirm,
    Confirmed,
    Contributed,
    EvaluateTask,
    Join,
    Refused,
    Shown,
    Step,
    SurveyTask,
    Task,
    Unmask,
    payload_digest,
)
from shared.open_sums import OpenCollector, total_of
from shared.secagg.collector import Collector, Total
from shared.secagg.plan import Plan
from shared.study import study_hash
from shared.vectors import terms
from shared.wire import pack

#: The coordinator's cores are idle while it unmasks.
THREADS = os.cpu_count() or 1
#: answered so far, asked in all
Progress = Callable[[int, int], None]


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


class TooFewError(OperatorError):
    """A step that too few hospitals answered; `missing` says who did not and why; `may_pass` if
    asking again could help."""

    def __init__(self, step: str, least: int, got: int, missing: Mapping[str, str], *, may_pass: bool = True) -> None:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(missing.items()))
        super().__init__(
            f"{step} step",
            expected=f"at least {least} hospitals",
            got=f"{got} ({reasons or 'nobody joined'})",
            do="See each reason; --resume goes on from the last checkpoint.",
        )
        self.step, self.missing, self.may_pass = step, dict(missing), may_pass


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
        self._invitation, self._roster, self._operator, self._folder = invitation, roster, operator, folder
        self._desk = desk or Desk()
        self._hash = study_hash(invitation.study)
        self.study, self.run = invitation.study, invitation.run
        self.layout = layout_for(invitation.study)
        self.expected = tuple(entry.name for entry in roster.entries)
        self.members = Members(self.expected)
        self._link = CountedLink(link, invitation.run, receipts)
        self.traffic = self._link.traffic
        self._reception = Reception(self._link, invitation, roster, owner, self.members)

    @property
    def parameters(self) -> int:
        """Weights that move: the length of an update."""
        return self.layout.moving

    def welcome(self, timeout_s: float, *, waits: Told = lambda _name, _reason: None) -> dict[str, str]:
        """Wait for hospitals that may yet join (`Reception.welcome`); returns who is not in and said why."""
        return self._reception.welcome(timeout_s, waits=waits)

    def aggregate(self, task: AnyTask, *, round_: int, attempt: int, progress: Progress) -> Sum:
        """The sum of `task` over the members asked for it. Raises TooFewError; the plan is then spent."""
        study = self._invitation.study
        step = STEP_OF[type(task)]
        names = self.members.cohort(_kind(task))
        least = study.federation.min_sites
        if len(names) < least:
            raise TooFewError(step, least, len(names), self.members.absent(_kind(task)), may_pass=False)
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

    def _open(self, opened: OpenPlan, task: AnyTask, progress: Progress) -> Sum:
        """Collect and unmask one plan's sum. Raises TooFewError, or OperatorError for a sum that does not open."""
        plan, step, asked = opened.plan, opened.plan.step, opened.asked
        if plan.adversary == "none":
            return self._open_each(opened, task, progress)
        least = max(self.study.federation.min_sites, plan.threshold)
        with FileShelf(self._desk.folder) as shelf:
            collector = Collector(plan, self._roster, shelf)
            missing = self.members.absent(_kind(task)) | dict.fromkeys(
                set(plan.sites()) - set(asked), "had not answered before"
            )
            shown = self._contributions(collector, opened, task, missing, progress)
            if len(shown) < least or (opened.survivors and len(shown) < len(asked)):
                raise TooFewError(step, least, len(shown), missing)
            survivors = collector.close()
            self._desk.keep(plan, survivors)
            unconfirmed = self._confirmations(collector, survivors, missing) if plan.adversary == "active" else {}
            silent = self._answers(collector, survivors, missing)
            summed = collector.finish(threads=THREADS)
        faults = dict(fault.split(" ", 1) for fault in collector.faults)  # each begins with the name of its site
        return Sum(summed, plan, survivors, shown, missing, unconfirmed, unhelpful=silent | faults)

    def _open_each(self, opened: OpenPlan, task: AnyTask, progress: Progress) -> Sum:
        """Collect the single updates of a step without masks. Raises TooFewError."""
        plan, missing = opened.plan, dict(self.members.absent(_kind(task)))
        collector = OpenCollector(plan, self._roster, most=self.study.federation.max_images)
        shown = self._contributions(collector, opened, task, missing, progress)
        least = max(self.study.federation.min_sites, plan.threshold)
        if len(shown) < least:
            raise TooFewError(plan.step, least, len(shown), missing)
        survivors, each = collector.close(), collector.each()
        return Sum(total_of(each), plan, survivors, shown, missing, {}, {}, each)

    def _plan(self, task: AnyTask, names: Sequence[str], payload: bytes, *, round_: int, attempt: int) -> Plan:
        study = self._invitation.study
        agreed = terms(study, task, payload_digest(payload), cohort=len(names), parameters=self.parameters)
        return Plan(
            **asdict(agreed),
            run=self._invitation.run,
            study_hash=self._hash,
            roster_hash=self._invitation.roster.digest(),
            round=round_,
            attempt=attempt,
            cohort=tuple(self.members.records[name] for name in names),
        )

    def _contributions(
        self,
        collector: Collector | OpenCollector,
        opened: OpenPlan,
        task: AnyTask,
        missing: dict[str, str],
        progress: Progress,
    ) -> dict[str, Shown]:
        """Add the vectors up as they come in; `missing` gains whoever is not in the sum."""
        plan, asked, shown = opened.plan, opened.asked, dict[str, Shown]()
        progress(0, len(opened.asked))
        while asked:
            given = self.members.lacking.intersection(asked)
            requests = self._requests(plan, task, asked, given)
            names = {self.members.nodes[name]: name for name in asked}
            for arrival in self._link.ask(requests, self._invitation.study.federation.timeout_s):
                name = names[arrival.node]
                self._link.note(arrival, name, plan.round, plan.step)
                found = self._contribution(collector, name, _kind(task), arrival)
                if isinstance(found, Shown):
                    shown[name] = found
                    missing.pop(name, None)
                else:
                    missing[name] = found
                progress(len(shown), len(opened.asked))
                del arrival  # as long as the model: not held while the next one comes in
            asked = tuple(sorted(self.members.lacking.intersection(asked) - given))  # who found out only now
        return shown

    def _requests(self, plan: Plan, task: AnyTask, asked: Sequence[str], given: Set[str]) -> dict[int, bytes]:
        """The step for each node, with the study's start weights beside it for the hospitals `given` them."""
        step = Step(plan=plan, payload=memoryview(pack(Task(body=task))))
        plain, whole = messages.request(step, self._operator), b""
        if given and self._folder is not None and not isinstance(task, SurveyTask):
            file = file_of(self.study, self._folder)
            whole = messages.request(replace(step, init=memoryview(file)), self._operator)
        return {self.members.nodes[name]: whole or plain if name in given else plain for name in asked}

    def _contribution(
        self, collector: Collector | OpenCollector, name: str, kind: str, arrival: Arrival
    ) -> Shown | str:
        if arrival.data is None:
            self.members.lose(name)
            return arrival.problem
        try:
            body = messages.read_reply(arrival.data)
            if isinstance(body, Refused):
                self._refused(name, kind, body)
                return said(body.reason)
            if kind != STEP_OF[SurveyTask]:  # which nobody needs them for
                self.members.lacking.discard(name)
            if not isinstance(body, Contributed):
                raise PeerError("reply", expected="a contribution", got=type(body).__name__)
            body.check(self._roster.identity(name), collector.digest)
            check_shown(body.shown, self.study)
            site = collector.add(body.contribution, body.vector)
            if site != name:
                raise PeerError("contribution", expected=f"one of {name}", got=f"one of {site}")
        except PeerError as error:
            return said(str(error))
        return body.shown

    def _confirmations(
        self, collector: Collector, survivors: Sequence[str], missing: Mapping[str, str]
    ) -> dict[str, str]:
        """Step 2: have the survivors sign that they are the survivors; returns who did not, and why."""
        requests = {name: Confirm(request=collector.ask_confirm(name)) for name in survivors}

        def take(body: AnyReply) -> str:
            if not isinstance(body, Confirmed):
                raise PeerError("reply", expected="a confirmation", got=type(body).__name__)
            return collector.confirm(body.confirmation)

        silent = self._ask(collector.plan, "confirm", requests, take)
        self._expect_threshold(collector.plan, "confirm", survivors, silent, missing)
        collector.settle()
        return silent

    def _answers(self, collector: Collector, survivors: Sequence[str], missing: Mapping[str, str]) -> dict[str, str]:
        """Step 3: have the survivors help to unmask; returns who did not, and why."""
        requests = {name: Unmask(request=collector.request(name)) for name in survivors}

        def take(body: AnyReply) -> str:
            if not isinstance(body, Answered):
                raise PeerError("reply", expected="an unmask answer", got=type(body).__name__)
            return collector.answer(body.answer)

        silent = self._ask(collector.plan, "unmask", requests, take)
        self._expect_threshold(collector.plan, "unmask", survivors, silent, missing)
        return silent

    def _ask(
        self, plan: Plan, purpose: str, requests: Mapping[str, Confirm | Unmask], take: Callable[[AnyReply], str]
    ) -> dict[str, str]:
        """Hand each reply to `take`; returns whose was missing or wrong, and why."""
        nodes = self.members.nodes
        names = {nodes[name]: name for name in requests if name in nodes}
        encoded = {node: messages.request(requests[name], self._operator) for node, name in names.items()}
        silent = {name: "was lost before" for name in requests if name not in nodes}
        for arrival in self._link.ask(encoded, self._invitation.study.federation.timeout_s):
            name = names[arrival.node]
            self._link.note(arrival, name, plan.round, purpose)
            if arrival.data is None:
                self.members.lose(name)
            problem = arrival.problem if arrival.data is None else _problem(arrival.data, take)
            if problem:
                silent[name] = problem
        return silent

    def _expect_threshold(
        self, plan: Plan, purpose: str, asked: Sequence[str], silent: Mapping[str, str], missing: Mapping[str, str]
    ) -> None:
        answered = len(asked) - len(silent)
        if answered < plan.threshold:
            raise TooFewError(f"{plan.step} {purpose}", plan.threshold, answered, {**missing, **silent})

    def _refused(self, name: str, kind: str, refusal: Refused) -> None:
        """A policy's no to one kind of step holds for the run; a no for now lasts until the hospital joins again; for
        want of the start weights, until they are sent with the same plan."""
        if refusal.lacks:
            self.members.lacking.add(name)
        if refusal.passing:
            node = self.members.nodes[name]
            self.members.lose(name)
            self.members.waiting[node] = Waiting(name, said(refusal.reason), time.monotonic())
        elif refusal.rule:
            self.members.refused[name, kind] = said(refusal.reason)


def _kind(task: AnyTask) -> str:
    """What a hospital says no to for good: a step, and of evaluations those of one split, whose patients it counts."""
    step = STEP_OF[type(task)]
    return f"{step} {task.split}" if isinstance(task, EvaluateTask) else step


def _problem(data: bytes, take: Callable[[AnyReply], str]) -> str:
    """Hand one reply to `take`; returns what was wrong with it, or nothing."""
    try:
        body = messages.read_reply(data)
        if isinstance(body, Refused):
            return said(body.reason)
        take(body)
    except PeerError as error:
        return said(str(error))
    return ""
