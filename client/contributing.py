"""PROTOCOL.md step 1 at the hospital: a plan verified, allowed, charged, done, masked, stored and answered.

Rules:
1. Nothing is prepared or computed before plan, task, policy and members are in order.
2. The ledger is charged, on disk, before the first gradient; the reply is stored before it is sent.
3. A plan answered before gets its stored bytes again and nothing else.
"""

import time
from dataclasses import dataclass

from client.agreement import Agreement, reopen
from client.audit import Audit
from client.charges import charge, spent
from client.consent import Consent
from client.differences import Said, Topic
from client.doing import Doing, Past
from client.home import Home
from client.ledger import Ledger
from client.outgoing import Leaving
from client.questions import check_evaluation, check_round, check_task, topic_of
from client.rounds import Rounds
from client.steps import Outcome
from client.workbench import Prepared
from shared.algorithms.registry import keeps
from shared.messages.replies import Contributed, write_reply
from shared.messages.requests import Step, check_operator
from shared.messages.shown import Shown, coarse_seconds
from shared.messages.tasks import AnyTask, EvaluateTask, SurveyTask, Task, TrainTask, payload_digest
from shared.secagg.plan import Plan, Seat, SiteRules, check_plan
from shared.study import Study
from shared.terms import terms
from shared.wire import unpack


@dataclass(frozen=True)
class Contributing:
    """The answers of the hospital in `home` to plans of the runs in `rounds`."""

    home: Home
    rounds: Rounds
    consent: Consent
    audit: Audit
    ledger: Ledger
    doing: Doing

    def answer(self, step: Step) -> Leaving:
        """What was stored for the plan of `step`, or what is made and stored now."""
        plan, key = step.plan, step.plan.digest()
        check_operator(step, self.rounds.joined(plan.run).operator)
        stored = self.rounds.reply(key)
        if stored is None:
            stored = self._contribute(step, key)
        if plan.step == "train":
            self.doing.keeper.settle(plan.run, plan.round, stored)
        return Leaving(stored, plan.step, plan.run, plan.round)

    def _contribute(self, step: Step, key: bytes) -> bytes:
        """The stored reply to a plan, whose digest is `key`, that was not answered before."""
        started, plan = time.perf_counter(), step.plan
        agreement = reopen(self.home, self.rounds.joined(plan.run))
        self.rounds.check_newer(plan.run, plan.round, plan.attempt)
        task, study = unpack(Task, step.payload).body, agreement.study
        name = self.home.config.name
        said = _said(study, task, name)
        if said is not None:
            self.rounds.check_said(plan.run, plan.round, said)
        seat = self._seat(agreement, plan, task, step.payload)
        prepared = self._prepared(study, task, step.init)
        if charge(self.ledger, study, task, plan, prepared.images, limits=self.home.policy.limits):
            self.audit.record("reserved", run=plan.run, round=plan.round, plan=key.hex())
        outcome = self.doing.act(study, task, plan, self._past(task, plan, name))
        masked, kept = self.doing.hide(seat, outcome.plain, agreement.state.key), outcome.kept
        seconds = time.perf_counter() - started
        shown = self._shown(study, task, plan, outcome, counts=_counts(prepared), seconds=seconds)
        del outcome  # the update it closes over is as long as the model
        reply = write_reply(Contributed.sign(masked.contribution, masked.vector, shown, self.home.identity, key))
        if isinstance(task, TrainTask):
            counted = task.counted.get(name, 0)
            self.doing.keeper.draft(plan.run, plan.round, reply, kept, counted=counted)
        about = topic_of(study, task, plan)
        reply = self.rounds.store(
            key, plan.run, plan.round, plan.attempt, reply=reply, secrets=masked.state, topic=about, said=said
        )
        self.audit.record("answered", purpose=plan.step, run=plan.run, round=plan.round, plan=key.hex())
        return reply

    def _seat(self, agreement: Agreement, plan: Plan, task: AnyTask, payload: memoryview) -> Seat:
        """This site's place in `plan`. Raises PeerError for every refusal of PROTOCOL.md that needs no memory, and a
        refusal with the rule's name for what the policy says of study or cohort."""
        study = agreement.study
        check_round(study, task, plan)
        moving = self.doing.bench.layout(study).moving
        if isinstance(task, TrainTask):
            check_task(study, task, moving)
        if isinstance(task, EvaluateTask):
            check_evaluation(study, task)
        self.consent.to_study(study, agreement.roster, plan.run)
        agreed = terms(study, task, payload_digest(payload), cohort=len(plan.cohort), parameters=moving)
        seat = check_plan(plan, agreement.state.record, agreement.roster, SiteRules(), agreed)
        agreement.check_members(plan.sites())
        self.consent.to_sites(plan.sites(), "cohort")
        return seat

    def _past(self, task: AnyTask, plan: Plan, name: str) -> Past:
        """What this hospital knows of the run by itself, whatever a task says of it."""
        counted, judged = self.rounds.last_counted(plan.run, name), tuple[str, ...]()
        if isinstance(task, EvaluateTask) and task.before:
            judged = self.rounds.opened_over(plan.run, Topic(f"{plan.step} {task.split}", task.before))
        return Past(counted, judged)

    def _prepared(self, study: Study, task: AnyTask, init: memoryview) -> Prepared:
        """The images, and the network where one is needed; `init`: the file it begins with, where it came along."""
        bench = self.doing.bench
        if init:
            bench.starts.keep(study, init)
        if not isinstance(task, SurveyTask):
            bench.open(study)  # a hospital that lacks its start weights says so before anybody is charged
        return bench.prepared(study)

    def _shown(
        self, study: Study, task: AnyTask, plan: Plan, outcome: Outcome, *, counts: dict[str, int], seconds: float
    ) -> Shown:
        """What the policy shows. Time is exact beside image `counts` that it shows anyway; else on a public grid: it
        tells of patients."""
        opened, survey = self.home.policy.evaluation.per_site_counts, isinstance(task, SurveyTask)
        return Shown(
            seconds=round(seconds, 3) if opened else coarse_seconds(seconds),
            spent=None if survey else spent(self.ledger, study, plan, total=opened),
            figures=outcome.figures,
            counts=counts if opened and survey else None,
        )


def _said(study: Study, task: AnyTask, site: str) -> Said | None:
    """What a training under masks says of rounds that count; None where nothing is kept between rounds, or nobody is
    hidden."""
    if not isinstance(task, TrainTask) or study.aggregation.adversary == "none" or not keeps(study):
        return None
    return Said(site, task.counted)


def _counts(prepared: Prepared) -> dict[str, int]:
    """Files used, and left out by reason."""
    return {"used": prepared.counts.usable, **{str(k): v for k, v in prepared.counts.skipped.items() if v}}
