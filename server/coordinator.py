"""The round loop: survey, then train and evaluate until the rounds, the patience or the hospitals are used up.

Guarantees: hospitals are seen only through sums over at least `min_sites` of them; who was missing is remembered with
the reason; every round ends in a checkpoint; a run that had to end early says so in `because`; a sum that could not be
opened, or that holds what no hospital has, is asked for again and never enters the model.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from msgspec.structs import replace

from server.aggregate import Aggregator, Sum, TooFewError
from server.checkpoints import Checkpoint, Checkpoints, Memory
from server.guard import accepted, check_harm, counted, taken_back, voted
from server.headline import called, headline_of
from server.laps import Laps, row_of, with_evaluation
from server.observer import (
    Event,
    Observer,
    RoundFinished,
    RoundStarted,
    RunFinished,
    RunStarted,
    SiteJoined,
    SiteLeft,
    StepProgress,
)
from server.report.result import Images, LeftOut, Purpose
from server.strategies.base import Weights
from server.strategies.choose import strategy_of
from server.survey import class_weights, surveyed
from shared.accounting import noise_multiplier
from shared.errors import OperatorError, unlikely
from shared.evaluated import Evaluated
from shared.judged import Judged, goodness, known
from shared.messages import STEP_OF, AnyTask, EvaluateTask, OwnFigures, Spent, SurveyTask
from shared.study import Study
from shared.tasks.registry import kind_of
from shared.vectors import SPLITS, Survey, read_counts, read_survey

VALIDATION, TEST = 1, 2
#: Attempts at one step before the run stops; each trains anew and spends anew.
ATTEMPTS = 3
#: Attempts of one start of the coordinator; the next start counts on from above them.
ATTEMPTS_PER_START = 1_000_000
#: Why a run that was for the survey ended before its first round.
SURVEY_ONLY = "only the survey was asked for"
#: Seconds a round waits for hospitals that vanished and are connected again to join again.
REJOIN_S = 15.0

R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """How the run ended: the last checkpoint, the final evaluations (None without), and why if it was early."""

    status: Literal["finished", "stopped", "failed"]
    because: str
    checkpoint: Checkpoint
    validation: Evaluated | None
    test: Evaluated | None
    #: hospitals' own figures on the test patients, where their policy shows them
    figures: Mapping[str, OwnFigures]
    #: the hospitals' own models on the test patients, where the study lets them have some
    personal: Evaluated | None = None


class Coordinator:
    """One run, through `aggregator`. `start` counts the starts of this run, from 1, never the same twice. A run whose
    `purpose` is the survey ends when that is on disk; one for a search never looks at the test patients; the same run
    can go on for a model later."""

    def __init__(
        self,
        aggregator: Aggregator,
        checkpoints: Checkpoints,
        observer: Observer,
        *,
        start: int,
        purpose: Purpose = "model",
    ) -> None:
        self._aggregator, self._checkpoints, self._observer = aggregator, checkpoints, observer
        self._purpose = purpose
        self._study: Study = aggregator.study
        self._kind = kind_of(aggregator.study)
        self._strategy = strategy_of(aggregator.study, aggregator.layout)
        self._attempt = start * ATTEMPTS_PER_START
        self._laps = Laps(aggregator.traffic)
        self._joined: set[str] = set()
        self._left: list[LeftOut] = []
        self._figures: dict[str, OwnFigures] = {}
        #: by the final evaluation
        self._spent: dict[str, Spent] = {}
        self._personal: Evaluated | None = None

    def run(self, begin: Checkpoint) -> Outcome:
        """Go on from `begin`: a fresh model or the last checkpoint. Raises InputError for a privacy target that
        cannot be met, before any hospital is asked."""
        study, expected = self._study, len(self._aggregator.expected)
        noise_multiplier(study)
        noisy = study.evaluation.epsilon is not None
        head = headline_of(study)
        run, rounds = self._aggregator.run, study.training.rounds
        self._tell(RunStarted(run, study.name, expected, rounds, noisy, called(head), head.better))
        self._left = list(begin.memory.left_out)
        checkpoint, because = begin, ""
        del begin  # as long as the model
        status: Literal["finished", "stopped", "failed"] = "finished"
        try:
            checkpoint = self._prepare(checkpoint)
            if self._purpose == "survey":
                return self._surveyed(checkpoint)
            self._laps.lap()
            while not because and (checkpoint.memory.round < study.training.rounds or not checkpoint.memory.judged):
                checkpoint = self._train(checkpoint) if checkpoint.memory.judged else self._judge(checkpoint)
                self._checkpoints.save(checkpoint)
                because = self._patience(checkpoint.memory)
                check_harm(checkpoint.memory)
        except OperatorError as error:
            status, because = "stopped", str(error)
            self._blame(checkpoint.memory.round + 1, error)
        validation, test = self._final(checkpoint)
        if (validation if self._purpose == "search" else test) is None:
            status = "failed"
        memory = replace(checkpoint.memory, left_out=tuple(self._left), spent=checkpoint.memory.spent | self._spent)
        checkpoint = replace(checkpoint, memory=memory)
        self._tell(RunFinished(status, because))
        return Outcome(status, because, checkpoint, validation, test, self._figures, self._personal)

    def _surveyed(self, checkpoint: Checkpoint) -> Outcome:
        """The end of a run that was for the survey only."""
        checkpoint = replace(checkpoint, memory=replace(checkpoint.memory, left_out=tuple(self._left)))
        self._checkpoints.save(checkpoint)
        self._tell(RunFinished("finished", SURVEY_ONLY))
        return Outcome("finished", SURVEY_ONLY, checkpoint, None, None, {})

    def _tell(self, event: Event) -> None:
        self._observer.notice(event)

    def _missing(self, round_: int, step: str, reasons: dict[str, str]) -> None:
        round_ = min(round_, self._study.training.rounds)  # the final evaluation comes after the last
        for site, reason in sorted(reasons.items()):
            self._left.append(LeftOut(site=site, round=round_, step=step, reason=reason))
            self._tell(SiteLeft(site, step, reason))

    def _blame(self, round_: int, error: OperatorError) -> None:
        """Remember who was missing when a sum was lost; one that nobody was missing from names nobody."""
        if isinstance(error, TooFewError):
            self._missing(round_, error.step, error.missing)

    def _patience(self, memory: Memory) -> str:
        """Why to stop before the last round, in words for the report; empty to go on."""
        patience = self._study.training.early_stopping
        if not patience or memory.stale < patience or memory.round >= self._study.training.rounds:
            return ""
        return (
            f"early stopping: no better validation figure in {memory.stale} evaluations since round {memory.best_round}"
        )

    def _prepare(self, checkpoint: Checkpoint) -> Checkpoint:
        """Wait for the hospitals to join, then survey their images unless this run did so before."""
        self._missing(checkpoint.memory.round, "join", self._welcome(self._study.federation.timeout_s))
        if checkpoint.memory.images is not None:
            return checkpoint
        labels = len(self._study.task.labels)
        total, survey = self._sum(
            SurveyTask(), 0, lambda total: read_survey(total.opened, len(total.survivors), labels)
        )
        weights = class_weights(self._study, survey)
        figures = surveyed(self._study, survey, weights)
        memory = replace(checkpoint.memory, images=_images(survey, total), class_weights=weights, survey=figures)
        return replace(checkpoint, memory=memory)

    def _welcome(self, timeout_s: float) -> dict[str, str]:
        problems = self._aggregator.welcome(timeout_s, waits=self._waits)
        for name in sorted(set(self._aggregator.members.records) - self._joined):
            self._joined.add(name)
            self._tell(SiteJoined(name))
        return problems

    def _waits(self, site: str, reason: str) -> None:
        self._tell(SiteLeft(site, "join", reason))

    def _sum(self, task: AnyTask, round_: int, read: Callable[[Sum], R]) -> tuple[Sum, R]:
        """The opened sum of `task`, and what `read` finds in it; a sum that was lost or cannot be read is tried again
        with a new plan, up to ATTEMPTS times."""
        step = STEP_OF[type(task)]
        for left in reversed(range(ATTEMPTS)):
            self._attempt += 1
            try:
                total = self._aggregator.aggregate(
                    task,
                    round_=round_,
                    attempt=self._attempt,
                    progress=lambda answered, asked: self._tell(StepProgress(round_, step, answered, asked)),
                )
                found = read(total)
            except OperatorError as error:
                if not left or (isinstance(error, TooFewError) and not error.may_pass):
                    raise
                self._blame(round_, error)
                self._welcome(REJOIN_S)
            else:
                self._missing(round_, step, dict(total.missing))
                self._missing(round_, f"{step} confirm", dict(total.unconfirmed))
                self._missing(round_, f"{step} unmask", dict(total.unhelpful))
                return total, found
        raise AssertionError("the last attempt returns or raises")

    def _train(self, checkpoint: Checkpoint) -> Checkpoint:
        """The first half of a round: train, and move the model. On disk before the second half begins: a coordinator
        that is killed in between asks nobody to train again."""
        before = checkpoint.memory
        round_ = before.round + 1
        self._tell(RoundStarted(round_))
        self._welcome(REJOIN_S)
        task = self._strategy.task(checkpoint.state, before.class_weights)
        total, applied = self._sum(
            replace(task, counted=counted(self._study, before.rows)),
            round_,
            lambda total: self._strategy.apply(
                checkpoint.state, total.opened, total.plan, len(total.survivors), total.each
            ),
        )
        state = applied.state
        row = row_of(round_, self._attempt, total, applied=applied, lap=self._laps.lap())
        memory = replace(
            before,
            round=round_,
            judged=False,
            mass=state.mass,
            steps=state.steps,
            clip=state.clip,
            weight=state.images,
            spent=before.spent | _spent(total),
            rows=(*before.rows, row),
            left_out=tuple(self._left),
        )
        return Checkpoint(memory, state, checkpoint.best)

    def _judge(self, checkpoint: Checkpoint) -> Checkpoint:
        """The second half: the new model on the validation patients, if it is this round's turn."""
        study, round_ = self._study, checkpoint.memory.round
        row = checkpoint.memory.rows[-1]
        if round_ % study.evaluation.every == 0 or round_ == study.training.rounds:
            before = bytes.fromhex(checkpoint.memory.voted)
            judged, counts = self._evaluate(checkpoint.state.result, VALIDATION, round_, before=before)
            found = self._kind.judge(counts.everybody)
            row = voted(with_evaluation(row, judged, found), counts, asked=bool(before))
            if row.taken_back:
                checkpoint = taken_back(checkpoint, self._checkpoints.state_after(round_ - 1))
            else:
                checkpoint = _keep_best(checkpoint, counts, found, _spent(judged))
                checkpoint = accepted(study, checkpoint, self._moving(checkpoint.state.result))
        row = self._laps.lap().onto(row)
        memory = checkpoint.memory
        memory = replace(memory, judged=True, rows=(*memory.rows[:-1], row), left_out=tuple(self._left))
        epsilon = {name: own.epsilon_run for name, own in memory.spent.items() if study.privacy.mode != "off"}
        self._tell(RoundFinished(round_, row.validation, epsilon, row.trained, row.seconds))
        return replace(checkpoint, memory=memory)

    def _evaluate(
        self, weights: Weights, split: int, round_: int, *, before: bytes = b"", personal: bool = False
    ) -> tuple[Sum, Evaluated]:
        task = EvaluateTask(weights=self._moving(weights), split=split, before=before, personal=personal)
        return self._sum(task, round_, self._read_counts)

    def _moving(self, weights: Weights) -> memoryview:
        """The part of `weights` that travels."""
        return self._aggregator.layout.part(weights).data.cast("B")

    def _read_counts(self, total: Sum) -> Evaluated:
        """The counts of an evaluation. Raises OperatorError for ones that no hospitals can have sent."""
        found = Evaluated.from_integers(self._study, read_counts(total.opened, len(total.survivors)))
        self._kind.judge(found.everybody)
        if not 0 <= found.harmful <= found.votes <= len(total.survivors):
            raise unlikely(f"votes of at most {len(total.survivors)} hospitals", f"{found.harmful} of {found.votes}")
        return found

    def _final(self, checkpoint: Checkpoint) -> tuple[Evaluated | None, Evaluated | None]:
        """The best model on the validation patients (for the operating point) and on the test patients."""
        memory = checkpoint.memory
        if not memory.best_round:
            return None, None
        validation = Evaluated.from_integers(self._study, memory.best_counts)
        if self._purpose == "search":
            return validation, None
        self._welcome(REJOIN_S)
        try:
            total, test = self._evaluate(checkpoint.best, TEST, memory.round + 1)  # after all that hospitals were asked
        except OperatorError as error:
            self._blame(memory.round, error)
            return validation, None
        self._figures = {name: c.figures for name, c in total.shown.items() if c.figures is not None}
        self._spent = _spent(total)
        self._personal = self._own_models(checkpoint)
        return validation, test

    def _own_models(self, checkpoint: Checkpoint) -> Evaluated | None:
        """The hospitals' own models, as they are after the last round, on the test patients; None where the study has
        none, or too few answered."""
        memory = checkpoint.memory
        if not self._study.federation.personal:
            return None
        try:
            _, found = self._evaluate(checkpoint.state.result, TEST, memory.round + 1, personal=True)
        except OperatorError as error:
            self._blame(memory.round, error)
            return None
        return found


def _images(survey: Survey, total: Sum) -> Images:
    return Images(
        used=sum(survey.splits),
        splits=dict(zip(SPLITS, survey.splits, strict=True)),
        skipped={reason.value: count for reason, count in survey.skipped.items() if count},
        per_site={name: c.counts for name, c in total.shown.items() if c.counts is not None},
    )


def _spent(total: Sum) -> dict[str, Spent]:
    """What the hospitals' ledgers say after a step, by name."""
    return {name: shown.spent for name, shown in total.shown.items() if shown.spent is not None}


def _keep_best(checkpoint: Checkpoint, counts: Evaluated, found: Judged, spent: dict[str, Spent]) -> Checkpoint:
    """Remember the model if its validation figure is the best so far, and what the figure cost."""
    memory, good = replace(checkpoint.memory, spent=checkpoint.memory.spent | spent), goodness(found.headline)
    if memory.best_round and good <= (-math.inf if memory.best is None else memory.best):
        return replace(checkpoint, memory=replace(memory, stale=memory.stale + 1))
    best = replace(memory, best_round=memory.round, best=known(good), best_counts=tuple(counts.to_integers()), stale=0)
    return Checkpoint(best, checkpoint.state, checkpoint.state.result)
