"""The round loop: survey, then train and evaluate until the rounds, the patience or the hospitals are used up.

Guarantees: hospitals are seen only through sums over at least `min_sites` of them; every round ends in a checkpoint; a
run that had to end early says so in `because`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from server.aggregate import Aggregator, Sum
from server.attempts import Attempts
from server.checkpoints import Checkpoint, Checkpoints, Memory
from server.guard import check_harm, counted
from server.headline import called, headline_of
from server.judging import Judging, Verdict
from server.laps import Laps, row_of
from server.observer import Event, Observer, RoundFinished, RoundStarted, RunFinished, RunStarted
from server.report.result import Images, Purpose
from server.strategies.choose import strategy_of
from server.survey import class_weights, surveyed
from shared.accounting import noise_multiplier
from shared.errors import OperatorError
from shared.evaluated import Evaluated
from shared.messages.shown import OwnFigures
from shared.messages.tasks import SurveyTask
from shared.study import Study
from shared.survey import SPLITS, Survey, read_survey

#: Why a run that was for the survey ended before its first round.
SURVEY_ONLY = "only the survey was asked for"

Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How the run ended: the last checkpoint, the final evaluations (None without), and why if it was early."""

    status: Status
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
        self._strategy = strategy_of(aggregator.study, aggregator.layout)
        self._attempts = Attempts(aggregator, observer, start=start)
        self._judging = Judging(aggregator.study, aggregator.layout, self._attempts)
        self._laps = Laps(aggregator.traffic)

    def run(self, begin: Checkpoint) -> Outcome:
        """Go on from `begin`: a fresh model or the last checkpoint. Raises InputError for a privacy target that
        cannot be met, before any hospital is asked."""
        noise_multiplier(self._study)
        self._tell(self._started())
        self._attempts.go_on(begin.memory.left_out)
        checkpoint, because = begin, ""
        del begin  # as long as the model
        status: Status = "finished"
        try:
            checkpoint = self._prepare(checkpoint)
            if self._purpose == "survey":
                return self._surveyed(checkpoint)
            self._laps.lap()
            while not because and self._goes_on(checkpoint.memory):
                checkpoint = self._train(checkpoint) if checkpoint.memory.judged else self._judge(checkpoint)
                self._checkpoints.save(checkpoint)
                because = self._patience(checkpoint.memory)
                check_harm(checkpoint.memory)
        except OperatorError as error:
            status, because = "stopped", str(error)
            self._attempts.blame(checkpoint.memory.round + 1, error)
        return self._ended(checkpoint, status, because)

    def _started(self) -> RunStarted:
        study, head = self._study, headline_of(self._study)
        noisy = study.evaluation.epsilon is not None
        hospitals, rounds = len(self._aggregator.expected), study.training.rounds
        return RunStarted(self._aggregator.run, study.name, hospitals, rounds, noisy, called(head), head.better)

    def _surveyed(self, checkpoint: Checkpoint) -> Outcome:
        """The end of a run that was for the survey only."""
        checkpoint = replace(checkpoint, memory=replace(checkpoint.memory, left_out=self._attempts.left_out))
        self._checkpoints.save(checkpoint)
        self._tell(RunFinished("finished", SURVEY_ONLY))
        return Outcome("finished", SURVEY_ONLY, checkpoint, None, None, {})

    def _ended(self, checkpoint: Checkpoint, status: Status, because: str) -> Outcome:
        """The best model judged, as far as the run's purpose goes; failed where nothing came of that."""
        search, judging = self._purpose == "search", self._judging
        found = Verdict(judging.validated(checkpoint)) if search else judging.tested(checkpoint)
        if (found.validation if search else found.test) is None:
            status = "failed"
        memory, left_out = checkpoint.memory, self._attempts.left_out
        checkpoint = replace(checkpoint, memory=replace(memory, left_out=left_out, spent=memory.spent | found.spent))
        self._tell(RunFinished(status, because))
        return Outcome(status, because, checkpoint, found.validation, found.test, found.figures, found.personal)

    def _tell(self, event: Event) -> None:
        self._observer.notice(event)

    def _goes_on(self, memory: Memory) -> bool:
        """Whether a round is still to come, or the last one to be judged."""
        return memory.round < self._study.training.rounds or not memory.judged

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
        self._attempts.join(checkpoint.memory.round)
        if checkpoint.memory.images is not None:
            return checkpoint
        labels = len(self._study.task.labels)
        total, survey = self._attempts.sum(
            SurveyTask(), 0, lambda total: read_survey(total.opened, len(total.survivors), labels)
        )
        weights = class_weights(self._study, survey)
        figures = surveyed(self._study, survey, weights)
        memory = replace(checkpoint.memory, images=_images(survey, total), class_weights=weights, survey=figures)
        checkpoint = replace(checkpoint, memory=memory)
        self._checkpoints.save(checkpoint)  # hospitals that were asked to train are surveyed no more
        return checkpoint

    def _train(self, checkpoint: Checkpoint) -> Checkpoint:
        """The first half of a round: train, and move the model. On disk before the second half begins: a coordinator
        that is killed in between asks nobody to train again."""
        before = checkpoint.memory
        round_ = before.round + 1
        self._tell(RoundStarted(round_))
        self._attempts.rejoin()
        task = self._strategy.task(checkpoint.state, before.class_weights)
        total, applied = self._attempts.sum(
            replace(task, counted=counted(self._study, before.rows)),
            round_,
            lambda total: self._strategy.apply(
                checkpoint.state, total.opened, total.plan, len(total.survivors), total.each
            ),
        )
        state = applied.state
        row = row_of(round_, self._attempts.number, total, applied=applied, lap=self._laps.lap())
        memory = replace(
            before,
            round=round_,
            judged=False,
            mass=state.mass,
            steps=state.steps,
            clip=state.clip,
            weight=state.images,
            spent=before.spent | total.spent,
            rows=(*before.rows, row),
            left_out=self._attempts.left_out,
        )
        return Checkpoint(memory, state, checkpoint.best)

    def _judge(self, checkpoint: Checkpoint) -> Checkpoint:
        """The second half: the new model on the validation patients, if it is this round's turn."""
        checkpoint = self._judging.after_round(checkpoint, self._checkpoints)
        memory = checkpoint.memory
        row = self._laps.lap().onto(memory.rows[-1])
        memory = replace(memory, judged=True, rows=(*memory.rows[:-1], row), left_out=self._attempts.left_out)
        private = self._study.privacy.mode != "off"
        epsilon = {name: own.epsilon_run for name, own in memory.spent.items() if private}
        self._tell(RoundFinished(memory.round, row.validation, epsilon, row.trained, row.seconds))
        return replace(checkpoint, memory=memory)


def _images(survey: Survey, total: Sum) -> Images:
    return Images(
        used=sum(survey.splits),
        splits=dict(zip(SPLITS, survey.splits, strict=True)),
        skipped={reason.value: count for reason, count in survey.skipped.items() if count},
        per_site={name: c.counts for name, c in total.shown.items() if c.counts is not None},
    )
