"""konsil-server search: try settings of a study on the real hospitals, within its privacy budget."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server.commands.coordinator import HERE, DirOption, enqueue, follow
from server.history import History
from server.home import ServerHome
from server.report.result import read_result
from server.report.trials import best_of, line_of, trials_table
from server.search.space import read_space
from server.search.trials import search as searched
from server.text import printable
from shared.errors import OperatorError
from shared.files import write_atomically
from shared.study import Study, read_study
from shared.tasks.registry import kind_of
from shared.toml import write_toml


def search(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    dir_: DirOption = HERE,
    *,
    space: Annotated[Path, typer.Option(help="TOML file: what may change, and from where to where.")],
    trials: Annotated[int, typer.Option(min=1, help="Runs to try, those of an earlier start included.")] = 20,
) -> None:
    """Find the settings of STUDY that do best on the hospitals' validation patients; goes on where it was stopped.

    Every trial is a study of its own, which hospitals must agree to. The study's epsilon is for all trials and the run
    of the best after them.
    """
    home, read, console = ServerHome(dir_.expanduser().resolve()), read_study(study), Console()
    history, out = History(home.history), home.path / "searches" / read.name
    out.mkdir(parents=True, exist_ok=True)

    def run(wanted: Study, _: int) -> float | None:
        name = enqueue(home, history, wanted, write_toml(wanted).encode(), study.parent, purpose="search")
        try:
            follow(home, history, name, console)
        except OperatorError as error:  # one trial less; its charges stay
            console.print(printable(str(error)), highlight=False)
            return None
        return best_of(read_result(home.runs / name / "result.json"))

    found = searched(
        read,
        read_space(space),
        trials=trials,
        storage=out / "trials.jsonl",
        better=kind_of(read).judge([0] * kind_of(read).counts).headline.better,
        run=run,
        told=lambda trial: console.print(line_of(trial), highlight=False),
    )
    write_atomically(out / "best.toml", write_toml(found.best).encode())
    console.print(trials_table(found))
    console.print(f"the best, with the epsilon that is left for it: {out / 'best.toml'}", highlight=False)
