"""The settings that do best on the validation patients: each trial is a whole run of the federation.

Guarantees: no test patient is looked at; all trials and the run after them stay within the study's ε
(server/search/budget.py), and one that would go beyond is not begun; every trial is on disk when it ends, so that a
search that was killed goes on where it was, its half run charged at the hospitals and counted here. Chosen by Optuna's
tree-structured Parzen estimator (Bergstra et al. 2011), seeded by the study.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from server.search.budget import share_of, spent_by
from server.search.space import Choices, Space, Value, Wish, with_settings
from shared.errors import OperatorError
from shared.extras import need
from shared.judged import Better
from shared.study import Study

if TYPE_CHECKING:
    import optuna

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
    kept, each, because = _kept(storage, better, study.training.seed), share_of(study, trials + 1), ""
    while len(kept.trials) < trials:
        before = [with_settings(each, one.params) for one in kept.trials]
        asked = kept.ask()
        settings = {key: _suggest(asked, key, wish) for key, wish in space.items()}
        wanted = with_settings(each, settings)
        total, limit = spent_by([*before, wanted, wanted]), study.privacy.epsilon or 0.0
        if total > limit * (1 + 1e-6):
            because = f"with trial {asked.number} and the run after it ε would be {total:.3g}, and {limit:g} is all"
            _end(kept, asked.number, None)
            break
        value = run(wanted, asked.number)
        _end(kept, asked.number, value)
        told(Trial(asked.number, settings, value))
    done = tuple(Trial(one.number, one.params, one.value) for one in kept.trials)
    known = [trial for trial in done if trial.value is not None]
    if not known:
        raise OperatorError("search", expected="a trial with a figure", got=because or f"none of {len(done)}")
    best = (max if better == "higher" else min)(known, key=lambda trial: trial.value or 0.0)
    return Found(done, with_settings(each, best.settings), because)


def _kept(storage: Path, better: Better, seed: int) -> "optuna.Study":
    """The trials in `storage`; one that was cut short has failed."""
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
        sampler=optuna.samplers.TPESampler(seed=seed),
    )
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
