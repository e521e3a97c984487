"""The trials of a search as people read them."""

from rich.table import Table

from server.report.result import Result
from server.search.trials import Found, Trial
from server.text import number


def best_of(result: Result) -> float | None:
    """The headline on the validation patients of the best round; None of a run that did not finish."""
    figures = [row.validation for row in result.rounds.each if row.round == result.rounds.best]
    return figures[0] if figures and result.status == "finished" else None


def trials_table(found: Found) -> Table:
    """A line for each trial; below, why it ended early if it did."""
    keys = list(dict.fromkeys(key for trial in found.trials for key in trial.settings))
    table = Table("trial", *keys, "validation", caption=found.because and f"ended early: {found.because}")
    for trial in found.trials:
        cells = [_shown(trial.settings[key]) if key in trial.settings else "" for key in keys]
        table.add_row(str(trial.number), *cells, number(trial.value))
    return table


def line_of(trial: Trial) -> str:
    """One trial in a sentence."""
    settings = ", ".join(f"{key} = {_shown(value)}" for key, value in trial.settings.items())
    return f"trial {trial.number}: {settings}: {trial.because or number(trial.value)}"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
