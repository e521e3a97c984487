"""Models judged on patients held out: on the validation split after a round, on the test split once, at the very end.

Guarantees: counts that no hospitals can have sent are no result; the best model by the validation figure is kept, a
round that the hospitals vote back (server/guard.py) never becomes it; the test patients are met after all training.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from server.aggregate import Sum
from server.attempts import Attempts
from server.checkpoints import Checkpoint, Checkpoints
from server.guard import accepted, taken_back, voted
from server.laps import with_evaluation
from server.strategies.base import Weights
from shared.accounting import TEST, VALIDATION
from shared.counts import read_counts
from shared.errors import OperatorError, unlikely
from shared.evaluated import Evaluated
from shared.judged import Judged, goodness, known
from shared.layout import Layout
from shared.messages.shown import OwnFigures, Spent
from shared.messages.tasks import EvaluateTask
from shared.study import Study
from shared.tasks.registry import kind_of


@dataclass(frozen=True)
class Verdict:
    """The final evaluations of the best model (None without); what the test cost, by hospital."""

    validation: Evaluated | None = None
    test: Evaluated | None = None
    #: hospitals' own figures on the test patients, where their policy shows them
    figures: Mapping[str, OwnFigures] = field(default_factory=dict)
    #: the hospitals' own models on the test patients, where the study lets them have some
    personal: Evaluated | None = None
    spent: dict[str, Spent] = field(default_factory=dict)


class Judging:
    """Of one run of `study`, by sums that `attempts` asks for; `layout`: which weights travel."""

    def __init__(self, study: Study, layout: Layout, attempts: Attempts) -> None:
        self._study, self._layout, self._attempts = study, layout, attempts
        self._kind = kind_of(study)

    def after_round(self, checkpoint: Checkpoint, checkpoints: Checkpoints) -> Checkpoint:
        """`checkpoint` with its newest round evaluated, if it is that round's turn; with the state before it, from
        `checkpoints`, if it is voted back."""
        study, memory = self._study, checkpoint.memory
        if memory.round % study.evaluation.every and memory.round != study.training.rounds:
            return checkpoint
        before = bytes.fromhex(memory.voted)
        total, counts = self._evaluate(checkpoint.state.result, VALIDATION, memory.round, before=before)
        found = self._kind.judge(counts.everybody)
        row = voted(with_evaluation(memory.rows[-1], total, found), counts, asked=bool(before))
        checkpoint = replace(checkpoint, memory=replace(memory, rows=(*memory.rows[:-1], row)))
        if row.taken_back:
            return taken_back(checkpoint, checkpoints.state_after(memory.round - 1))
        checkpoint = _keep_best(checkpoint, counts, found, total.spent)
        return accepted(study, checkpoint, self._moving(checkpoint.state.result))

    def validated(self, checkpoint: Checkpoint) -> Evaluated | None:
        """The best model on the validation patients, as it was found when it became the best."""
        memory = checkpoint.memory
        return Evaluated.from_integers(self._study, memory.best_counts) if memory.best_round else None

    def tested(self, checkpoint: Checkpoint) -> Verdict:
        """The best model on the test patients too; the hospitals are asked for the last time."""
        validation, memory = self.validated(checkpoint), checkpoint.memory
        if validation is None:
            return Verdict()
        self._attempts.rejoin()
        try:
            total, test = self._evaluate(checkpoint.best, TEST, memory.round + 1)  # after all that hospitals were asked
        except OperatorError as error:
            self._attempts.blame(memory.round, error)
            return Verdict(validation)
        figures = {name: shown.figures for name, shown in total.shown.items() if shown.figures is not None}
        return Verdict(validation, test, figures, self._own_models(checkpoint), total.spent)

    def _own_models(self, checkpoint: Checkpoint) -> Evaluated | None:
        """The hospitals' own models, as they are after the last round, on the test patients; None where the study has
        none, or too few answered."""
        memory = checkpoint.memory
        if not self._study.federation.personal:
            return None
        try:
            _, found = self._evaluate(checkpoint.state.result, TEST, memory.round + 1, personal=True)
        except OperatorError as error:
            self._attempts.blame(memory.round, error)
            return None
        return found

    def _evaluate(
        self, weights: Weights, split: int, round_: int, *, before: bytes = b"", personal: bool = False
    ) -> tuple[Sum, Evaluated]:
        task = EvaluateTask(weights=self._moving(weights), split=split, before=before, personal=personal)
        return self._attempts.sum(task, round_, self._read)

    def _moving(self, weights: Weights) -> memoryview:
        """The part of `weights` that travels."""
        return self._layout.part(weights).data.cast("B")

    def _read(self, total: Sum) -> Evaluated:
        """The counts of an evaluation. Raises OperatorError for ones that no hospitals can have sent."""
        found = Evaluated.from_integers(self._study, read_counts(total.opened, len(total.survivors)))
        for counts in (found.everybody, *found.groups):
            self._kind.judge(counts)
        sites = len(total.survivors)
        if not 0 <= found.harmful <= found.votes <= sites:
            raise unlikely(f"votes of at most {sites} hospitals", f"{found.harmful} of {found.votes}")
        if not all(0 <= kept_back <= sites for kept_back in found.hidden):
            raise unlikely(f"subgroups kept back by at most {sites} hospitals", f"{found.hidden}")
        return found


def _keep_best(checkpoint: Checkpoint, counts: Evaluated, found: Judged, spent: dict[str, Spent]) -> Checkpoint:
    """Remember the model if its validation figure is the best so far, and what the figure cost."""
    memory, good = replace(checkpoint.memory, spent=checkpoint.memory.spent | spent), goodness(found.headline)
    if memory.best_round and good <= (-math.inf if memory.best is None else memory.best):
        return replace(checkpoint, memory=replace(memory, stale=memory.stale + 1))
    best = replace(memory, best_round=memory.round, best=known(good), best_counts=tuple(counts.to_integers()), stale=0)
    return Checkpoint(best, checkpoint.state, checkpoint.state.result)
