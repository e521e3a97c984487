"""The hospital's end of the protocol: one message in, one reply out.

    verify → policy → approval → ledger → act → mask → store → audit → reply

Rules:
1. A request is judged by what it holds, never by who delivered it, and read only up to the size its study could need.
2. What the policy forbids is refused with the rule's name; what the protocol forbids with what was expected.
3. A study that waits for approval is kept and refused: nothing of it is prepared or computed.
4. The ledger is charged, on disk, before the first gradient; the reply is stored before it is sent.
5. Nothing leaves but masked vectors, and plain figures that the policy allows; and no byte before its audit line is on
   disk, but for the refusal that says so.
6. Whatever comes in, a reply goes out: no message stops the daemon, and no refusal shows the inside of this house.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from client.agreement import Agreement, agree, open_agreement, reopen
from client.audit import Audit
from client.charges import charge, spent
from client.consent import Consent
from client.doing import Doing
from client.home import Home
from client.kept import Keeper
from client.ledger import Ledger, archive_tag
from client.outgoing import Leaving, Outgoing
from client.privacy.release import release
from client.questions import check_evaluation, check_round, check_task, topic_of
from client.refusals import unforeseen
from client.rounds import Asked as Stored
from client.rounds import Rounds, RunState
from client.training.gradients.base import PatientGradients
from client.training.private import Release
from client.workbench import Prepared, Workbench
from shared import messages
from shared.algorithms.registry import algorithm_of
from shared.crypto.identity import Identity
from shared.crypto.roster import Roster
from shared.errors import KonsilError, PeerError
from shared.layout import Layout
from shared.messages import (
    LONGEST_CONFIRM,
    LONGEST_JOIN,
    LONGEST_UNMASK,
    Answered,
    AnyRequest,
    AnyTask,
    Confirm,
    Confirmed,
    Contributed,
    EvaluateTask,
    Heading,
    Join,
    Joined,
    Shown,
    Step,
    SurveyTask,
    Task,
    TrainTask,
    Unmask,
    coarse_seconds,
    longest_step,
    payload_digest,
)
from shared.network import network_of
from shared.parameters import layout_of
from shared.secagg.member import RoundState, confirm, unmask
from shared.secagg.messages import ConfirmRequest, UnmaskRequest
from shared.secagg.plan import Plan, Seat, SiteRules, check_plan
from shared.start import is_needed, longest
from shared.study import Study, study_hash
from shared.vectors import terms
from shared.version import SOFTWARE
from shared.wire import unpack

#: A run key that was not used for so long is deleted, and its run is over here.
FORGET_S = 30 * 24 * 3600.0
#: Bytes of the longest request by its kind, whatever the study.
LONGEST = {"confirm": LONGEST_CONFIRM, "unmask": LONGEST_UNMASK}


class Maker(Protocol):
    """`member.confirm` or `member.unmask`."""

    def __call__(self, state: RoundState, request: bytes, *, identity: Identity, rules: SiteRules) -> bytes:
        """The answer to `request`."""


class Site:
    """One hospital, in its `home`. Any number of processes may serve the same home. An audit plants patients by
    `prepare` and `way`, and takes the noise away by `release` (client/workbench.py)."""

    def __init__(
        self,
        home: Home,
        *,
        prepare: Callable[[Home, Study], Prepared] | None = None,
        way: PatientGradients | None = None,
        release: Release = release,
    ) -> None:
        self._home = home
        self._config = home.config
        self._ledger = Ledger(home.path / "ledger.sqlite", archive=archive_tag(home.archive_key))
        self._rounds = Rounds(home.path / "rounds.sqlite")
        self._audit = Audit(home.path / "audit.jsonl")
        self._consent = Consent(home, self._audit)
        self._outgoing = Outgoing(self._config.name, self._audit)
        self._bench = Workbench(home, note=self._audit.record, prepare=prepare, way=way, release=release)
        keeper = Keeper(home.path / "kept", most_bytes=int(self._config.kept_gib * 2**30))
        self._doing = Doing(self._config.name, home, self._bench, keeper)
        self._layouts: dict[bytes, Layout] = {}
        self._rounds.forget(FORGET_S)
        keeper.forget(FORGET_S)

    def handle(self, data: bytes) -> bytes:
        """The reply to one request from outside: what was asked, or a refusal that says why."""
        about = Heading("", "", 0)
        try:
            about = messages.peek(data)
            return self._outgoing.let_go(self._answer(messages.read_request(data, limit=self._longest(about))))
        except KonsilError as error:
            return self._outgoing.refuse(error, about)
        except Exception as error:  # noqa: BLE001  rule 6
            return self._outgoing.refuse(unforeseen(error), about)

    def _answer(self, body: AnyRequest) -> Leaving:
        if isinstance(body, Join):
            return self._join(body)
        if isinstance(body, Step):
            return self._step(body)
        return self._confirm(body) if isinstance(body, Confirm) else self._unmask(body)

    def _longest(self, about: Heading) -> int:
        """Bytes that a request of this heading may have; only a run joined here may need more than an invitation."""
        if about.kind in LONGEST:
            return LONGEST[about.kind]
        if about.kind != "step":
            return LONGEST_JOIN
        state = self._joined(about.run)
        roster, study = unpack(Roster, state.join.roster.roster), state.join.study
        layout = self._layout(study)
        vectors = 1 + algorithm_of(study).beside
        return longest_step(vectors * layout.moving, len(roster.entries), longest(layout) if is_needed(study) else 0)

    def _join(self, join: Join) -> Leaving:
        """PROTOCOL.md step 0."""
        earlier = self._rounds.run(join.run)
        if earlier is not None and earlier.join == join:
            self._welcome(join, reopen(self._home, earlier).roster)
            state = earlier
        else:
            self._welcome(join, open_agreement(self._home, join, site=self._config.name))
            state = self._enter(join, earlier)
        lacks = self._bench.starts.lacks(join.study)
        return Leaving(messages.reply(Joined(record=state.record, software=SOFTWARE, lacks=lacks)), "join", join.run, 0)

    def _welcome(self, join: Join, roster: Roster) -> None:
        self._consent.to_roster(roster)
        self._consent.to_study(join.study, roster, join.run)

    def _enter(self, join: Join, earlier: RunState | None) -> RunState:
        """Join a new run, or one joined before under an older roster; the run's study never changes."""
        self._rounds.forget(FORGET_S)
        state = earlier
        if earlier is None or earlier.join.study == join.study:
            agreed = agree(self._home, self._config.name, join, earlier)
            state = self._rounds.join(agreed, instead_of=earlier)
        if state is None or state.join.study != join.study:
            raise PeerError("join", expected="the study this run was joined with", got="another under the same run")
        self._audit.record("joined", run=join.run, study=join.study.name, hash=study_hash(join.study).hex())
        return state

    def _step(self, step: Step) -> Leaving:
        """PROTOCOL.md step 1."""
        plan, key = step.plan, step.plan.digest()
        messages.check_operator(step, self._operator(plan.run))
        stored = self._rounds.reply(key)
        if stored is None:
            stored = self._answer_plan(plan, key, step.payload, step.init)
        if plan.step == "train":
            self._doing.keeper.settle(plan.run, plan.round, stored)
        return Leaving(stored, plan.step, plan.run, plan.round)

    def _answer_plan(self, plan: Plan, key: bytes, payload: memoryview, init: memoryview) -> bytes:
        started = time.perf_counter()
        agreement = reopen(self._home, self._joined(plan.run))
        self._rounds.check_newer(plan.run, plan.round, plan.attempt)
        task = unpack(Task, payload).body
        study = agreement.study
        check_round(study, task, plan)
        if isinstance(task, TrainTask):
            check_task(study, task, self._layout(study).moving)
        if isinstance(task, EvaluateTask):
            check_evaluation(study, task)
        self._consent.to_study(study, agreement.roster, plan.run)
        seat = self._seat(agreement, plan, task, payload)
        agreement.check_members(plan.sites())
        self._consent.to_sites(plan.sites(), "cohort")
        if init:
            self._bench.starts.keep(study, init)
        if not isinstance(task, SurveyTask):
            self._bench.open(study)  # a hospital that lacks its start weights says so before anybody is charged
        prepared = self._bench.prepared(study)
        if charge(self._ledger, study, task, plan, prepared.images, limits=self._home.policy.limits):
            self._audit.record("reserved", run=plan.run, round=plan.round, plan=key.hex())
        outcome = self._doing.act(study, task, plan)
        masked, kept = self._doing.hide(seat, outcome.plain, agreement.state.key), outcome.kept
        open_counts = self._home.policy.evaluation.per_site_counts
        shown = Shown(
            seconds=self._seconds(time.perf_counter() - started),
            spent=None if isinstance(task, SurveyTask) else spent(self._ledger, study, plan, total=open_counts),
            figures=outcome.figures,
            counts=self._own_counts(prepared) if isinstance(task, SurveyTask) else None,
        )
        del outcome  # the update it closes over is as long as the model
        reply = messages.reply(Contributed.sign(masked.contribution, masked.vector, shown, self._home.identity, key))
        if isinstance(task, TrainTask):
            counted = task.counted.get(self._config.name, 0)
            self._doing.keeper.draft(plan.run, plan.round, reply, kept, counted=counted)
        reply = self._rounds.store(
            key,
            plan.run,
            plan.round,
            plan.attempt,
            reply=reply,
            secrets=masked.state,
            topic=topic_of(study, task, plan),
        )
        self._audit.record("answered", purpose=plan.step, run=plan.run, round=plan.round, plan=key.hex())
        return reply

    def _seat(self, agreement: Agreement, plan: Plan, task: AnyTask, payload: memoryview) -> Seat:
        """This site's place in `plan`, or PeerError: every refusal of PROTOCOL.md that needs no memory. What the policy
        says of cohorts is judged after it, as a refusal with the rule's name."""
        agreed = terms(
            agreement.study,
            task,
            payload_digest(payload),
            cohort=len(plan.cohort),
            parameters=self._layout(agreement.study).moving,
        )
        return check_plan(plan, agreement.state.record, agreement.roster, SiteRules(), agreed)

    def _confirm(self, body: Confirm) -> Leaving:
        """PROTOCOL.md step 2: one survivor set per plan."""
        request, rounds = unpack(ConfirmRequest, body.request), self._rounds
        signed, found = self._answer_once(
            body, request, "confirm", recall=rounds.confirmation, make=confirm, keep=rounds.confirm
        )
        return Leaving(messages.reply(Confirmed(confirmation=signed)), "confirm", found.run, found.round)

    def _unmask(self, body: Unmask) -> Leaving:
        """PROTOCOL.md step 3: once per plan, ever."""
        request, rounds = unpack(UnmaskRequest, body.request), self._rounds
        answer, found = self._answer_once(body, request, "unmask", recall=rounds.answer, make=unmask, keep=rounds.close)
        return Leaving(messages.reply(Answered(answer=answer)), "unmask", found.run, found.round)

    def _answer_once(
        self,
        body: Confirm | Unmask,
        request: ConfirmRequest | UnmaskRequest,
        purpose: str,
        *,
        recall: Callable[[bytes, Sequence[str]], Stored],
        make: Maker,
        keep: Callable[[bytes, Sequence[str], bytes], bytes],
    ) -> tuple[bytes, Stored]:
        """What was answered before about these survivors, or what `make` makes now: on disk before it leaves."""
        found = recall(request.plan, request.survivors)
        messages.check_operator(body, self._operator(found.run))
        if found.stored is not None:
            return found.stored, found
        made = make(found.need(), body.request, identity=self._home.identity, rules=SiteRules())
        self._consent.to_sites(request.survivors, "survivors")
        kept = keep(request.plan, request.survivors, made)
        self._audit.record("answered", purpose=purpose, run=found.run, round=found.round, plan=request.plan.hex())
        return kept, found

    def _joined(self, run: str) -> RunState:
        state = self._rounds.run(run)
        if state is None:
            raise PeerError("plan", expected="a run this site has joined", got="another", do="Send the study first.")
        return state

    def _operator(self, run: str) -> bytes:
        """Who speaks for the coordinator in `run`: the roster it was joined with was checked then."""
        return unpack(Roster, self._joined(run).join.roster.roster).operator

    def _layout(self, study: Study) -> Layout:
        key = study_hash(study)
        if key not in self._layouts:
            self._layouts[key] = layout_of(network_of(study))
        return self._layouts[key]

    def _seconds(self, seconds: float) -> float:
        """Exact beside image counts that the policy shows anyway; else on a public grid: time tells of patients."""
        return round(seconds, 3) if self._home.policy.evaluation.per_site_counts else coarse_seconds(seconds)

    def _own_counts(self, prepared: Prepared) -> dict[str, int] | None:
        if not self._home.policy.evaluation.per_site_counts:
            return None
        return {"used": prepared.counts.usable, **{str(k): v for k, v in prepared.counts.skipped.items() if v}}
