"""What this hospital does for a task: with its bench, and with what it kept and remembers of earlier rounds.

The ledger has been charged and the plan checked; what comes back has not left yet.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from client.home import Home
from client.images import Split
from client.kept import Keeper
from client.steps import Asked, Outcome, Remembered, evaluate, survey, train_round
from client.votes import Votes
from client.workbench import Workbench
from shared import open_sums
from shared.messages.tasks import AnyTask, EvaluateTask, TrainTask
from shared.secagg.joining import RunKey
from shared.secagg.member import Masked, Plain, contribute
from shared.secagg.plan import Plan, Seat
from shared.study import Study
from shared.wire import digest


class Past(NamedTuple):
    """What a hospital knows of a run: the last round whose sum holds its update (`counted`), and whose evaluations of
    the model that a vote compares with were `judged`, in a sum that it helped to open."""

    counted: int = 0
    judged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Doing:
    """The hospital `name` in `home`, at its `bench`, with its `keeper`."""

    name: str
    home: Home
    bench: Workbench
    keeper: Keeper

    def act(self, study: Study, task: AnyTask, plan: Plan, past: Past) -> Outcome:
        """The outcome of `task`, for `plan`."""
        if isinstance(task, TrainTask):
            return self._train(study, task, plan)
        shown = self.home.policy.evaluation
        if isinstance(task, EvaluateTask):
            show = study.evaluation.per_site and shown.per_site_figures and not task.personal
            memory = self._remembered(study, task, plan, past)
            return evaluate(study, task, self.bench, show=show, smallest=shown.smallest_count, memory=memory)
        return survey(study, self.bench.prepared(study), shown.smallest_count)

    def _train(self, study: Study, task: TrainTask, plan: Plan) -> Outcome:
        seed = int.from_bytes(digest("konsil/augment/v1", self.name.encode())[:4], "big")
        kept = self.keeper.of_round(plan.run, task.counted.get(self.name, 0))
        asked = Asked(plan.round, len(plan.cohort), plan.payload, kept)
        return train_round(study, task, asked, self.bench, seed=seed + study.training.seed)

    def _remembered(self, study: Study, task: EvaluateTask, plan: Plan, past: Past) -> Remembered:
        if task.personal:
            # not what a round made that nobody else's came with: two sums would differ in this hospital's model alone
            kept = self.keeper.of_round(plan.run, past.counted)
            return Remembered(kept=kept, judging=partial(self.keeper.judge, plan.run))
        if study.federation.guard and task.split == Split.VALIDATION:
            votes = Votes(self.keeper.folder(plan.run) / "standings.json")
            return Remembered(votes=votes, before=task.before if _hidden(plan, past) else b"")
        return Remembered()

    def hide(self, seat: Seat, plain: Plain, key: RunKey) -> Masked | open_sums.Open:
        """`plain` under this hospital's masks; as it is where the plan, which says what the study says, has none."""
        if seat.plan.adversary == "none":
            return open_sums.contribute(seat, plain, identity=self.home.identity)
        return contribute(seat, plain, run_key=key, identity=self.home.identity, threads=self.home.config.threads)


def _hidden(plan: Plan, past: Past) -> bool:
    """Whether two honest hospitals have a vote, whoever of the cohort is lost: a coordinator that had shown the model
    before to one alone would read that one's vote."""
    most_lost = len(plan.cohort) - plan.threshold
    return len(set(past.judged) & set(plan.sites())) - most_lost >= plan.colluders + 2
