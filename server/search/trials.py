"""The settings that do best on the validation patients: each trial is a whole run of the federation.

Guarantees: no test patient is looked at; all trials and the run after them stay within the study's ε
(server/search/budget.py), and one that would go beyond is not begun; every trial is on disk when it ends, so that a
search that was killed goes on where it was, its half run charged at the hospitals and counted here. Chosen by Optuna's
tree-structured Parzen estimator (Bergstra et al. 2011), seeded by the study.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from server.search.budget import share_of, spent_by
from server.search.space import Choices, Space, Value, Wish, with_settings
from shared.errors import InputError, OperatorError
from shared.extras import need
from shared.judged import Better
from shared.study import Privacy, Study, study_hash

if TYPE_CHECKING:
    import optuna

#: What is noted beside a trial, the ε of its run, and beside all of them, the study's hash.
SPENT, STUDY = "epsilon", "study"
#: Makes one run of a study, trial so and so, and gives its headline on the validation patients.
Run = Callable[[Study, int], float | None]


@dataclass(frozen=True)
class Trial:
    """One run with `settings`, judged `value` on the validation patients; None where it did not end."""

    number: int
    settings: Mapping[str, Value]
    value: float | None


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
    """The best of `trials` settings, those in `storage` among them. Raises OperatorError if none came to a figure."""
    kept, each, because = _kept(storage, better, study), share_of(study, trials + 1), ""
    while len(kept.trials) < trials:
        before = [_ran(study, one) for one in kept.trials]
        asked = kept.ask()
        settings = {key: _suggest(asked, key, wish) for key, wish in space.items()}
        wanted = with_settings(each, settings)
        because = _beyond(study, [*before, wanted], each)
        if because:
            _end(kept, asked.number, None)
            break
        asked.set_user_attr(SPENT, wanted.privacy.epsilon or 0.0)  # on disk before anybody is asked
        value = run(wanted, asked.number)
        _end(kept, asked.number, value)
        told(Trial(asked.number, settings, value))
    done = tuple(Trial(one.number, one.params, one.value) for one in kept.trials)
    known = [trial for trial in done if trial.value is not None]
    if not known:
        raise OperatorError("search", expected="a trial with a figure", got=because or f"none of {len(done)}")
    best = (max if better == "higher" else min)(known, key=lambda trial: trial.value or 0.0)
    return Found(done, with_settings(each, best.settings), because)


def _ran(study: Study, trial: "optuna.trial.FrozenTrial") -> Study:
    """The study that `trial` ran, with the ε it was given then; nothing was spent by one that was never begun."""
    epsilon = trial.user_attrs.get(SPENT)
    found = with_settings(study, trial.params)
    if study.privacy.epsilon is None:
        return found
    off = Privacy(mode="off")
    return replace(found, privacy=replace(study.privacy, epsilon=epsilon) if epsilon else off)


def _beyond(study: Study, runs: Sequence[Study], each: Study) -> str:
    """Why the last of `runs` is not begun: with it and a run after the search, whichever of them is the best and is run
    again with the share of `each`, ε would go beyond the study's. Empty if it stays within."""
    limit = study.privacy.epsilon
    if limit is None:
        return ""
    again = [replace(run, privacy=each.privacy) for run in runs]
    total = max(spent_by([*runs, last]) for last in again)
    beyond = f"with one more trial and the run after it ε would be {total:.3g}, and {limit:g} is all"
    return beyond if total > limit * (1 + 1e-6) else ""


def _kept(storage: Path, better: Better, study: Study) -> "optuna.Study":
    """The trials in `storage`; one that was cut short has failed. Raises InputError where they are of another study."""
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
        sampler=optuna.samplers.TPESampler(seed=study.training.seed),
    )
    own = study_hash(study).hex()
    if kept.user_attrs.setdefault(STUDY, own) != own:
        raise InputError(str(storage), expected="trials of this study", got="another's", do="Name another folder.")
    kept.set_user_attr(STUDY, own)
    for trial in kept.get_trials(deepcopy=False):
        if not trial.state.is_finished():
            _end(kept, trial.number, None)
    return kept


def _end(kept: "optuna.Study", number: int, value: float | None) -> None:
    from optuna.trial import TrialState  # noqa: PLC0415

    kept.tell(number, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)


def _suggest(trial: "optuna.Trial", key: str, wish: Wish) -> Value:
    if isinstance(wish, Choices):
        return cast(Value, trial.suggest_categorical(key, list(wish.choices)))
    if isinstance(wish.low, int) and isinstance(wish.high, int):
        return trial.suggest_int(key, wish.low, wish.high, log=wish.log)
    return trial.suggest_float(key, float(wish.low), float(wish.high), log=wish.log)
