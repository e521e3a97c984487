"""The hospital's end of the protocol: one message in, one reply out.

    verify → policy → ledger → act → mask → store → audit → reply

Rules:
1. A request is judged by what it holds, never by who delivered it.
2. What the policy forbids is refused with the rule's name; what the protocol forbids with what was expected.
3. The ledger is charged, on disk, before the first gradient; the reply is stored before it is sent.
4. Nothing leaves but masked vectors, and plain figures that the policy allows.
5. Whatever comes in, a reply goes out: no message stops the daemon, and no refusal shows the inside of this house.
"""

import hashlib
import os
import time
import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from client.agreement import Agreement, agree, reopen, rules_of
from client.audit import Audit
from client.home import Home
from client.images import Split
from client.ledger import Ledger, Purpose
from client.policy import judge
from client.rounds import Rounds
from client.steps import Outcome, Prepared, evaluate, prepare_for, survey, train_round
from shared import messages
from shared.accounting import noise_multiplier, round_event
from shared.errors import KonsilError, PeerError, RefusalError, SiteError
from shared.messages import (
    STEP_OF,
    Answered,
    AnyTask,
    Contributed,
    EvaluateTask,
    Join,
    Joined,
    Refused,
    Shown,
    Spent,
    Step,
    SurveyTask,
    Task,
    TrainTask,
    Unmask,
    payload_digest,
)
from shared.network import network_of
from shared.parameters import layout_of
from shared.secagg.member import contribute, unmask
from shared.secagg.messages import UnmaskRequest
from shared.secagg.plan import Plan, Seat, check_plan
from shared.study import Study, spec_hash
from shared.vectors import TRAIN_HEADER, quantizer, vector_length
from shared.version import SOFTWARE
from shared.wire import digest, pack, unpack

#: Characters of each part of a refusal: it may quote what came from outside, at any length.
LONGEST_PART = 500


class Site:
    """One hospital, in its `home`. Any number of processes may serve the same home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._config = home.config
        self._ledger = Ledger(home.path / "ledger.sqlite")
        self._rounds = Rounds(home.path / "rounds.sqlite")
        self._audit = Audit(home.path / "audit.jsonl")
        self._prepared: dict[bytes, Prepared] = {}
        torch.set_num_threads(self._config.threads)

    def handle(self, data: bytes) -> bytes:
        """The reply to one request from outside: what was asked, or a refusal that says why."""
        try:
            body = messages.read_request(data)
            if isinstance(body, Join):
                return self._join(body)
            return self._step(body) if isinstance(body, Step) else self._unmask(body)
        except KonsilError as error:
            return self._refuse(error)
        except Exception as error:  # noqa: BLE001  rule 5
            return self._refuse(_unforeseen(error))

    def _refuse(self, error: KonsilError) -> bytes:
        found = _shortened(Refused.of(error, self._config.name))
        with suppress(OSError, ValueError):  # a full disk stops the work and its log, not the refusal
            self._audit.record("refused", what=found.reason, rule=found.rule)
        inside = not isinstance(error, PeerError | RefusalError)
        return messages.reply(_without_insides(found) if inside else found)

    def _join(self, join: Join) -> bytes:
        """PROTOCOL.md step 0."""
        agreed = agree(self._home, self._config.name, join)
        judge(self._home.policy, join.study)
        state = self._rounds.join(agreed)
        if state.join.study != join.study:
            raise PeerError("join", expected="the study this run was joined with", got="another under the same run")
        self._audit.record("joined", run=join.run, study=join.study.name)
        return messages.reply(Joined(record=state.record, software=SOFTWARE))

    def _step(self, step: Step) -> bytes:
        """PROTOCOL.md step 1."""
        plan, key = step.plan, step.plan.digest()
        stored = self._rounds.reply(key)
        if stored is None:
            stored = self._answer_plan(plan, key, step.payload)
        self._audit.record(
            "sent", run=plan.run, round=plan.round, purpose=plan.step, bytes=len(stored), digest=_sha256(stored)
        )
        return stored

    def _answer_plan(self, plan: Plan, key: bytes, payload: memoryview) -> bytes:
        started = time.perf_counter()
        agreement = self._agreement(plan.run)
        self._rounds.check_newer(plan.run, plan.round, plan.attempt)
        task = unpack(Task, payload).body
        study, policy = agreement.study, self._home.policy
        judge(policy, study)
        seat = self._seat(agreement, plan, task, payload)
        prepared = self._images(study)
        if isinstance(task, TrainTask):
            self._check_task(study, task, plan)
            self._reserve(study, prepared, plan, key)
        outcome = self._act(study, task, plan, prepared)
        secrets, contribution = contribute(
            seat, outcome.vector, run_key=agreement.state.key, identity=self._home.identity
        )
        shown = Shown(
            seconds=round(time.perf_counter() - started, 3),
            spent=self._spent(study, plan.run) if isinstance(task, TrainTask) else None,
            figures=outcome.figures,
            counts=self._own_counts(prepared) if isinstance(task, SurveyTask) else None,
        )
        reply = messages.reply(Contributed.sign(contribution, shown, self._home.identity, key))
        return self._rounds.store(key, plan.run, plan.round, plan.attempt, reply=reply, secrets=secrets)

    def _seat(self, agreement: Agreement, plan: Plan, task: AnyTask, payload: memoryview) -> Seat:
        """This site's place in `plan`, or PeerError: every refusal of PROTOCOL.md that needs no memory."""
        study = agreement.study
        training = isinstance(task, TrainTask)
        return check_plan(
            plan,
            agreement.state.record,
            agreement.roster,
            rules_of(self._home.policy),
            step=STEP_OF[type(task)],
            payload=payload_digest(payload),
            length=vector_length(layout_of(network_of(study)).size, task),
            quantizer=pack(quantizer(study, len(plan.cohort))) if training else b"",
        )

    def _check_task(self, study: Study, task: TrainTask, plan: Plan) -> None:
        weights = study.training.class_weights
        public = (1.0, 1.0) if weights == "equal" else weights
        if public not in ("balanced", task.class_weights):
            raise PeerError("train task", expected=f"the study's class weights {public}", got=str(task.class_weights))
        size = plan.length - TRAIN_HEADER
        if len(task.weights) != 4 * size or not np.isfinite(np.frombuffer(task.weights, "<f4")).all():
            raise PeerError("weights", expected=f"{size} finite numbers", got=f"{len(task.weights)} bytes, or others")
        if not 1 <= plan.round <= study.training.rounds:
            raise PeerError("train task", expected=f"a round from 1 to {study.training.rounds}", got=str(plan.round))

    def _reserve(self, study: Study, prepared: Prepared, plan: Plan, key: bytes) -> None:
        sigma = noise_multiplier(study)
        if sigma is None:
            return
        images = prepared.images
        purpose = Purpose(key, study.name, plan.study_hash, plan.run, plan.round)
        exposed = [images.keys[patient] for patient in images.patients(Split.TRAIN)]
        self._ledger.reserve(exposed, round_event(study, sigma), purpose, self._home.policy.limits)
        self._audit.record("reserved", run=plan.run, round=plan.round, plan=key.hex())

    def _act(self, study: Study, task: AnyTask, plan: Plan, prepared: Prepared) -> Outcome:
        if isinstance(task, TrainTask):
            seed = int.from_bytes(digest("konsil/augment/v1", self._config.name.encode())[:4], "big")
            quantize = quantizer(study, len(plan.cohort))
            return train_round(study, task, plan.round, prepared, quantize=quantize, seed=seed + study.training.seed)
        if isinstance(task, EvaluateTask):
            show = study.evaluation.per_site and self._home.policy.evaluation.per_site_figures
            return evaluate(study, task, prepared, show=show)
        return survey(prepared)

    def _unmask(self, body: Unmask) -> bytes:
        """PROTOCOL.md step 3: once per plan, ever."""
        request = unpack(UnmaskRequest, body.request)
        found = self._rounds.answer(request.plan, body.request)
        answer = found.stored
        if found.secrets is not None:
            rules = rules_of(self._home.policy)
            made = unmask(found.secrets, body.request, identity=self._home.identity, rules=rules)
            answer = self._rounds.close(request.plan, body.request, made)
        if answer is None:
            raise PeerError("unmask request", expected="a plan whose answer is kept", got="a forgotten one")
        self._audit.record("sent", purpose="unmask", plan=request.plan.hex(), bytes=len(answer), digest=_sha256(answer))
        return messages.reply(Answered(answer=answer))

    def _agreement(self, run: str) -> Agreement:
        state = self._rounds.run(run)
        if state is None:
            raise PeerError("plan", expected="a run this site has joined", got="another", do="Send the study first.")
        return reopen(self._home, state)

    def _images(self, study: Study) -> Prepared:
        key = spec_hash(study.input) + pack(study.task) + pack(study.evaluation)
        if key not in self._prepared:
            self._prepared[key] = prepare_for(self._home, study)
            self._audit.record("prepared", images=len(self._prepared[key].images.label))
        return self._prepared[key]

    def _own_counts(self, prepared: Prepared) -> dict[str, int] | None:
        if not self._home.policy.evaluation.per_site_counts:
            return None
        return {"used": prepared.counts.usable, **{str(k): v for k, v in prepared.counts.skipped.items() if v}}

    def _spent(self, study: Study, run: str) -> Spent | None:
        sigma, delta = noise_multiplier(study), study.privacy.delta
        if sigma is None or delta is None:
            return None
        return Spent(
            steps=sum(event.steps for event in self._ledger.events(run)),
            epsilon_run=self._ledger.epsilon(delta, run=run),
            epsilon_total=self._ledger.epsilon(delta),
            delta=delta,
            noise_multiplier=sigma,
        )


def _unforeseen(error: Exception) -> SiteError:
    """`error` by its kind and place: its text may hold anything, a patient's file name too."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return SiteError(
        "this hospital's Konsil",
        expected="to answer",
        got=f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}",
        do="Its audit log says where it failed.",
    )


def _shortened(refused: Refused) -> Refused:
    return Refused(**{name: _short(getattr(refused, name)) for name in Refused.__struct_fields__})


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_PART else f"{text[: LONGEST_PART - 1]}…"


def _without_insides(refused: Refused) -> Refused:
    """The trouble of this house as outsiders hear it: not what was found, which may be a count, and no path."""
    what, expected, do = ("" if os.sep in text else text for text in (refused.what, refused.expected, refused.do))
    return Refused(what=what or "this hospital's files", expected=expected, got="", do=do, site=refused.site)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
