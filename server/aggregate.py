"""One secure aggregate, from a task for a cohort to the sum over its survivors (PROTOCOL.md, steps 0, 1, 3 and 4).

Guarantees: a hospital that does not answer, refuses, or sends what the protocol forbids is left out with a reason and
stops nobody else; a sum over fewer than the study's `min_sites` is never opened. Words and figures from a hospital are
kept only as far as an honest one's would go: they end in checkpoints and reports.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from server.attendance import Members, Waiting
from server.collect import Arrival, Link
from server.open_plan import Desk, OpenPlan
from server.receipts import Receipts
from server.text import printable
from shared import messages
from shared.accounting import noise_multiplier, planned_steps
from shared.crypto.roster import Roster
from shared.errors import KonsilError, OperatorError, PeerError
from shared.layout import layout_for
from shared.messages import (
    STEP_OF,
    Answered,
    AnyTask,
    Contributed,
    Join,
    Joined,
    Refused,
    Shown,
    Spent,
    Step,
    Task,
    TrainTask,
    Unmask,
    payload_digest,
)
from shared.reasons import Reason
from shared.secagg.collector import Collector
from shared.secagg.joining import JoinRecord, check_join
from shared.secagg.plan import Plan, threshold_for
from shared.study import Study, study_hash
from shared.vectors import Vector, quantizer
from shared.wire import pack

#: Seconds between looks for hospitals that have not joined yet.
WELCOME_POLL_S = 0.2
#: Characters kept of a hospital's reason.
LONGEST_REASON = 500
#: A run that repeats this many times its planned steps is not one that Konsil conducts.
MOST_REPEATS = 100
#: answered so far, asked in all
Progress = Callable[[int, int], None]
#: a hospital's name (its node, where no name is known) and what it said
Told = Callable[[str, str], None]


@dataclass
class Traffic:
    """Bytes of Konsil's messages to and from hospitals."""

    down: int = 0
    up: int = 0


@dataclass(frozen=True)
class Sum:
    """The opened sum of one step: `vector` uint32, over `survivors`; who is missing and why, and for good or not."""

    vector: Vector
    survivors: tuple[str, ...]
    cohort: int
    shown: Mapping[str, Shown]
    missing: Mapping[str, str]
    #: who is in the sum but did not help to open it, or sent wrong shares, and what happened
    unhelpful: Mapping[str, str]


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
        *,
        receipts: Receipts | None = None,
        desk: Desk | None = None,
    ) -> None:
        self._link, self._invitation, self._roster, self._receipts = link, invitation, roster, receipts
        self._desk = desk or Desk()
        self._hash = study_hash(invitation.study)
        self.study, self.run = invitation.study, invitation.run
        self.parameters = layout_for(invitation.study).size
        self.expected = tuple(entry.name for entry in roster.entries)
        self.members = Members(self.expected)
        self.traffic = Traffic()
        self._welcomed = False
        self._keys: dict[str, JoinRecord] = {}

    @property
    def awaited(self) -> bool:
        """Whether a hospital of the roster is neither in nor has declined for good."""
        return self.members.undecided > 0

    def welcome(self, timeout_s: float, *, waits: Told = lambda _name, _reason: None) -> dict[str, str]:
        """Wait until every hospital of the roster has joined or declined, `timeout_s` at most.

        One that said no for now is asked again, and `waits` told its reason once. The first welcome of a start waits
        for it as for one that is not there yet; later ones ask it, but do not wait. Returns who is not in and said why,
        by the hospital's name where it is known.
        """
        request = messages.request(self._invitation)
        deadline = time.monotonic() + timeout_s
        problems: dict[str, str] = {}
        while self.awaited:
            now = time.monotonic()
            newcomers = [node for node in self._link.nodes() if self.members.to_invite(node, now)]
            for arrival in self._ask(dict.fromkeys(newcomers, request), max(0.0, deadline - now)):
                self._take(arrival, problems, waits)
            only_waiting = self._welcomed and self.members.undecided <= len(self.members.waiting)
            if time.monotonic() >= deadline or only_waiting:
                break
            if self.awaited:
                time.sleep(WELCOME_POLL_S)
        self._welcomed = True
        return problems | {waiting.name: waiting.reason for waiting in self.members.waiting.values()}

    def _take(self, arrival: Arrival, problems: dict[str, str], waits: Told) -> None:
        """One answer to the invitation."""
        if arrival.data is None:
            return
        self._note(arrival, "", 0, "join")
        name, reason = f"node {arrival.node}", ""  # until it is known better
        try:
            body = messages.read_reply(arrival.data)
            if isinstance(body, Refused):
                known = body.site in self.expected and body.site not in self.members.records
                name, reason = body.site if known else name, _said(body.reason)
            elif isinstance(body, Joined):
                self._check(body.record)
                self.members.admit(body.record, arrival.node)
            else:
                reason = f"answered the invitation with {type(body).__name__}"
        except KonsilError as error:
            body, reason = None, _said(str(error))
        if isinstance(body, Refused) and body.passing:
            self._wait(arrival.node, name, reason, waits)
        elif reason:
            self.members.turn_away(arrival.node, name, reason)
            problems[name] = reason

    def _wait(self, node: int, name: str, reason: str, waits: Told) -> None:
        before = self.members.waiting.get(node)
        self.members.waiting[node] = Waiting(name, reason, time.monotonic())
        if before is None or before.reason != reason:
            waits(name, reason)

    def _note(self, arrival: Arrival, site: str, round_: int, asked: str) -> None:
        if self._receipts is not None and arrival.data is not None:
            self._receipts.note(arrival.data, node=arrival.node, site=site, run=self.run, round_=round_, asked=asked)

    def _check(self, record: JoinRecord) -> None:
        check_join(
            record,
            self._roster,
            run=self.run,
            study_hash=self._hash,
            roster_hash=self._invitation.roster.digest(),
        )
        if self._keys.setdefault(record.site, record) != record:
            raise PeerError(f"join of {record.site}", expected="its one key for this run", got="a second one")

    def aggregate(self, task: AnyTask, *, round_: int, attempt: int, length: int, progress: Progress) -> Sum:
        """The sum of `task` over the members asked for it. Raises TooFewError; the plan is then spent."""
        study = self._invitation.study
        step = STEP_OF[type(task)]
        names = self.members.cohort(step)
        least = study.federation.min_sites
        if len(names) < least:
            raise TooFewError(step, least, len(names), self.members.absent(step), may_pass=False)
        payload = pack(Task(body=task))
        opened = self._reopened(step, round_, payload)
        if opened is None:
            opened = OpenPlan(plan=self._plan(task, names, payload, round_=round_, attempt=attempt, length=length))
            self._desk.keep(opened.plan)
        try:
            return self._open(opened, payload, progress)
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

    def _open(self, opened: OpenPlan, payload: bytes, progress: Progress) -> Sum:
        """Collect and unmask one plan's sum. Raises TooFewError, or OperatorError for a sum that does not open."""
        plan, step, asked = opened.plan, opened.plan.step, opened.asked
        least = max(self.study.federation.min_sites, plan.threshold)
        collector = Collector(plan, self._roster)
        missing = self.members.absent(step) | dict.fromkeys(set(plan.sites()) - set(asked), "had not answered before")
        shown = self._contributions(collector, opened, payload, missing, progress)
        if len(shown) < least or (opened.survivors and len(shown) < len(asked)):
            raise TooFewError(step, least, len(shown), missing)
        survivors = collector.close()
        self._desk.keep(plan, survivors)
        silent = self._answers(collector, survivors, plan.round)
        if len(survivors) - len(silent) < plan.threshold:
            raise TooFewError(f"{step} unmask", plan.threshold, len(survivors) - len(silent), missing | silent)
        vector = collector.finish()
        faults = dict(fault.split(" ", 1) for fault in collector.faults)  # each begins with the name of its site
        return Sum(vector, survivors, len(plan.cohort), shown, missing, unhelpful=silent | faults)

    def _plan(
        self, task: AnyTask, names: Sequence[str], payload: bytes, *, round_: int, attempt: int, length: int
    ) -> Plan:
        study = self._invitation.study
        return Plan(
            run=self._invitation.run,
            study_hash=self._hash,
            roster_hash=self._invitation.roster.digest(),
            round=round_,
            attempt=attempt,
            step=STEP_OF[type(task)],
            payload=payload_digest(payload),
            cohort=tuple(self.members.records[name] for name in names),
            threshold=threshold_for(len(names), study.aggregation.threshold),
            quantizer=pack(quantizer(study, len(names))) if isinstance(task, TrainTask) else b"",
            length=length,
        )

    def _contributions(
        self,
        collector: Collector,
        opened: OpenPlan,
        payload: bytes,
        missing: dict[str, str],
        progress: Progress,
    ) -> dict[str, Shown]:
        """Add the masked vectors up as they come in; `missing` gains whoever is not in the sum."""
        plan = opened.plan
        request = messages.request(Step(plan=plan, payload=memoryview(payload)))
        names = {self.members.nodes[name]: name for name in opened.asked}
        shown: dict[str, Shown] = {}
        progress(0, len(names))
        for arrival in self._ask(dict.fromkeys(names, request), self._invitation.study.federation.timeout_s):
            name = names[arrival.node]
            self._note(arrival, name, plan.round, plan.step)
            found = self._contribution(collector, name, plan.step, arrival)
            if isinstance(found, Shown):
                shown[name] = found
            else:
                missing[name] = found
            progress(len(shown), len(names))
        return shown

    def _contribution(self, collector: Collector, name: str, step: str, arrival: Arrival) -> Shown | str:
        if arrival.data is None:
            self.members.lose(name)
            return arrival.problem
        try:
            body = messages.read_reply(arrival.data)
            if isinstance(body, Refused):
                self._refused(name, step, body)
                return _said(body.reason)
            if not isinstance(body, Contributed):
                raise PeerError("reply", expected="a contribution", got=type(body).__name__)
            body.check(self._roster.identity(name), collector.digest)
            _check_shown(body.shown, self.study)
            site = collector.add(body.contribution)
            if site != name:
                raise PeerError("contribution", expected=f"one of {name}", got=f"one of {site}")
        except PeerError as error:
            return _said(str(error))
        return body.shown

    def _answers(self, collector: Collector, survivors: Sequence[str], round_: int) -> dict[str, str]:
        """Ask every survivor to help unmask; returns who did not, and why."""
        names = {self.members.nodes[name]: name for name in survivors}
        requests = {node: messages.request(Unmask(request=collector.request(name))) for node, name in names.items()}
        silent: dict[str, str] = {}
        for arrival in self._ask(requests, self._invitation.study.federation.timeout_s):
            name = names[arrival.node]
            self._note(arrival, name, round_, "unmask")
            if arrival.data is None:
                self.members.lose(name)
            problem = arrival.problem if arrival.data is None else _answer(collector, arrival.data)
            if problem:
                silent[name] = problem
        return silent

    def _refused(self, name: str, step: str, refusal: Refused) -> None:
        """A policy's no to one step holds for the run; a no for now lasts until the hospital joins again."""
        if refusal.passing:
            node = self.members.nodes[name]
            self.members.lose(name)
            self.members.waiting[node] = Waiting(name, _said(refusal.reason), time.monotonic())
        elif refusal.rule:
            self.members.refused[name, step] = _said(refusal.reason)

    def _ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        """`Link.ask`, with the bytes counted."""
        self.traffic.down += sum(map(len, requests.values()))
        for arrival in self._link.ask(requests, timeout_s):
            self.traffic.up += len(arrival.data or b"")
            yield arrival


def _answer(collector: Collector, data: bytes) -> str:
    """Hand one reply to `collector`; returns what was wrong with it, or nothing."""
    try:
        body = messages.read_reply(data)
        if isinstance(body, Refused):
            return _said(body.reason)
        if not isinstance(body, Answered):
            raise PeerError("reply", expected="an unmask answer", got=type(body).__name__)
        collector.answer(body.answer)
    except PeerError as error:
        return _said(str(error))
    return ""


def _said(reason: str) -> str:
    """A hospital's words, of a length to keep, and never empty: an empty reason reads as none."""
    return printable(reason[: 2 * LONGEST_REASON], LONGEST_REASON) or "no reason given"


def _check_shown(shown: Shown, study: Study) -> None:
    """Raise PeerError for figures that no honest hospital shows."""
    if not 0 <= shown.seconds < math.inf:
        raise PeerError("seconds shown", expected="a finite time", got=str(shown.seconds))
    if shown.spent is not None:
        _check_spent(shown.spent, study)
    own = shown.figures
    if own is not None and not (
        all(math.isnan(value) or 0 <= value <= 1 for value in (own.auc, own.low, own.high))
        and 0 <= own.positives <= own.n < 2**53
    ):
        raise PeerError("figures shown", expected="an AUC in [0, 1] and counts", got="others")
    counts = shown.counts or {}
    if not (set(counts) <= {"used", *Reason} and all(0 <= value < 2**53 for value in counts.values())):
        raise PeerError("counts shown", expected="files used and skipped, by reason", got="others")


def _check_spent(spent: Spent, study: Study) -> None:
    """The ledger's figures are of this study's privacy, and finite."""
    sigma, most = noise_multiplier(study), MOST_REPEATS * planned_steps(study)
    if (spent.noise_multiplier, spent.delta) != (sigma, study.privacy.delta) or not 0 <= spent.steps <= most:
        raise PeerError(
            "privacy shown", expected="the study's noise and delta, its steps", got="another noise, delta or step count"
        )
    if not (0 <= spent.epsilon_run < math.inf and 0 <= spent.epsilon_total < math.inf):
        raise PeerError("privacy shown", expected="a finite epsilon", got=f"{spent.epsilon_run}, {spent.epsilon_total}")
