"""The settings that do best on the validation patients: each trial is a whole run of the federation.

Guarantees: no test patient is looked at; all trials and the run after them stay within the study's ε
(server/search/budget.py), and one that would go beyond is not begun; every trial is on disk before its run begins, so
that a search that was killed goes on with the run it was at, which is paid for once; one process searches at a time.
Chosen by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), seeded by the study and by how many trials
there are: one that goes on does not try the first settings again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from server.search.budget import share_of, spent_by, told_by
from server.search.space import Choices, Space, Value, Wish, with_settings
from server.turn import held
from shared.algorithms.registry import algorithm_of
from shared.errors import InputError, OperatorError
from shared.extras import need
from shared.judged import Better
from shared.study import Study, study_hash
from shared.tasks.registry import kind_of

if TYPE_CHECKING:
    import optuna

#: What is noted beside a trial, the ε of its training and of its evaluations, and beside all of them, the study's hash.
SPENT, TOLD, STUDY = "epsilon", "evaluation_epsilon", "study"
#: So many settings in a row that no study may have are an error of the space.
REFUSED = 20
#: Makes one run of a study, trial so and so, and gives its headline on the validation patients. Asked for a trial that
#: was cut short, it goes on with the run that was begun; None where that cannot be.
Run = Callable[[Study, int], float | None]


@dataclass(frozen=True)
class Trial:
    """One run with `settings`, judged `value` on the validation patients; None where it did not end. `because`: why no
    study may have these settings together."""

    number: int
    settings: Mapping[str, Value]
    value: float | None
    because: str = ""


@dataclass(frozen=True)
class Found:
    """`trials` in their order; the `best` study: with its settings, and the ε that is left for it; `because`: why the
    search ended before its last trial."""

    trials: tuple[Trial, ...]
    best: Study
    because: str = ""


def search(
    study: Study,
    space: Space,
    *,
    trials: int,
    storage: Path,
    better: Better,
    run: Run,
    told: Callable[[Trial], None],
) -> Found:
    """The best of `trials` settings, those in `storage` among them. Raises InputError for settings that cannot be,
    OperatorError if none came to a figure or another process searches there."""
    with held(storage.with_name("lock")):
        kept = _kept(storage, better, study)
        each, because = share_of(study, max(trials, len(kept.trials)) + 1), ""
        searching = _Search(study, each, space, kept, run, told)
        searching.go_on()
        while sum(map(_begun, kept.trials)) < trials and not because:
            because = searching.try_one()
        return _found(kept, each, better, because)


@dataclass(frozen=True)
class _Search:
    """One start of a search: its trials are `kept`, and a new one gets the share `each` of the budget of `study`."""

    study: Study
    each: Study
    space: Space
    kept: "optuna.Study"
    run: Run
    told: Callable[[Trial], None]

    def go_on(self) -> None:
        """End the trials that were cut short. One that was chosen and not begun has failed."""
        for half in [trial for trial in self.kept.trials if not trial.state.is_finished()]:
            if _begun(half):
                self._judge(half.number, _ran(self.study, half), half.params)
            else:
                _end(self.kept, half.number, None)

    def try_one(self) -> str:
        """One more trial; or why there is none."""
        before = [_ran(self.study, trial) for trial in self.kept.trials if _begun(trial)]
        asked = self.kept.ask()
        settings = {key: _suggest(asked, key, wish) for key, wish in self.space.items()}
        try:
            wanted = _trial_study(self.each, asked.number, settings)
        except InputError as error:
            self._refuse(Trial(asked.number, settings, None, str(error)), error)
            return ""
        if because := _beyond(self.study, [*before, wanted], self.each):
            _end(self.kept, asked.number, None)
            return because
        asked.set_user_attr(TOLD, wanted.evaluation.epsilon or 0.0)
        asked.set_user_attr(SPENT, wanted.privacy.epsilon or 0.0)  # on disk before anybody is asked
        self._judge(asked.number, wanted, settings)
        return ""

    def _refuse(self, trial: Trial, error: InputError) -> None:
        """Note settings that no study may have together: nobody was asked for anything, so it is no trial of those
        wanted. Raises `error` after REFUSED in a row: the space itself is wrong."""
        _end(self.kept, trial.number, None)
        self.told(trial)
        if not any(_begun(one) for one in self.kept.trials[-REFUSED:]) and len(self.kept.trials) >= REFUSED:
            raise error

    def _judge(self, number: int, wanted: Study, settings: Mapping[str, Value]) -> None:
        try:
            value = self.run(wanted, number)
        except InputError as error:
            _end(self.kept, number, None)  # whoever goes on does not meet these settings again
            if not any(one.value is not None for one in self.kept.trials):
                raise
            self.told(Trial(number, settings, None, str(error)))
            return
        _end(self.kept, number, value)
        self.told(Trial(number, settings, value))


def _found(kept: "optuna.Study", each: Study, better: Better, because: str) -> Found:
    done = tuple(Trial(one.number, one.params, one.value) for one in kept.trials)
    known = [trial for trial in done if trial.value is not None]
    if not known:
        raise OperatorError("search", expected="a trial with a figure", got=because or f"none of {len(done)}")
    best = (max if better == "higher" else min)(known, key=lambda trial: trial.value or 0.0)
    return Found(done, with_settings(each, best.settings), because)


def _begun(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether `trial` was to run: then it is paid for."""
    return SPENT in trial.user_attrs


def _trial_study(study: Study, number: int, settings: Mapping[str, Value]) -> Study:
    """`study` with `settings`, a study of its own: its name says which trial it is, so no other has its hash.
    Raises InputError for settings that no study has, or that do not go together."""
    found = replace(with_settings(study, settings), name=f"{study.name[:52]}-trial-{number}")
    kind_of(found)
    algorithm_of(found)
    return found


def _ran(study: Study, trial: "optuna.trial.FrozenTrial") -> Study:
    """The study that `trial` ran, with the ε it was given then; an earlier Konsil did not note that of evaluations."""
    found, noted = _trial_study(study, trial.number, trial.params), trial.user_attrs
    told = noted.get(TOLD, study.evaluation.epsilon)
    privacy = replace(study.privacy, epsilon=noted[SPENT] or None)
    return replace(found, privacy=privacy, evaluation=replace(study.evaluation, epsilon=told or None))


def _beyond(study: Study, runs: Sequence[Study], each: Study) -> str:
    """Why the last of `runs` is not begun: with it and a run after the search, whichever of them is the best and is run
    again with the shares of `each`, ε would go beyond the study's. Empty if it stays within."""
    again = [replace(run, privacy=each.privacy, evaluation=each.evaluation) for run in runs]
    budgets = (
        (study.privacy.epsilon, spent_by, "ε"),
        (study.evaluation.epsilon, told_by, "the evaluations’ ε"),
    )
    for limit, spent, what in budgets:
        if limit is None:
            continue
        total = max(spent([*runs, last]) for last in again)
        if total > limit * (1 + 1e-6):
            return f"with one more trial and the run after it {what} would be {total:.3g}, and {limit:g} is all"
    return ""


def _kept(storage: Path, better: Better, study: Study) -> "optuna.Study":
    """The trials in `storage`. Raises InputError where they are of another study."""
    need("optuna", extra="search")
    import optuna  # noqa: PLC0415  a second that no other command needs
    from optuna.storages import JournalStorage  # noqa: PLC0415
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kept = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(storage))),
        study_name="search",
        direction="maximize" if better == "higher" else "minimize",
        load_if_exists=True,
    )
    kept.sampler = optuna.samplers.TPESampler(seed=study.training.seed + len(kept.trials))
    own = study_hash(study).hex()
    if kept.user_attrs.setdefault(STUDY, own) != own:
        raise InputError(str(storage), expected="trials of this study", got="another's", do="Name another folder.")
    kept.set_user_attr(STUDY, own)
    return kept


def _end(kept: "optuna.Study", number: int, value: float | None) -> None:
    from optuna.trial import TrialState  # noqa: PLC0415

    kept.tell(number, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)


def _suggest(trial: "optuna.Trial", key: str, wish: Wish) -> Value:
    """A value of `key`. Raises InputError where an earlier start of the search chose it in another way."""
    try:
        if isinstance(wish, Choices):
            return cast(Value, trial.suggest_categorical(key, list(wish.choices)))
        if isinstance(wish.low, int) and isinstance(wish.high, int):
            return trial.suggest_int(key, wish.low, wish.high, log=wish.log)
        return trial.suggest_float(key, float(wish.low), float(wish.high), log=wish.log)
    except ValueError as error:
        do = "Name that space, or begin another search."
        raise InputError(
            f"{key} of the space", expected="the kind of the trials before", got=str(error), do=do
        ) from None
