"""konsil-server search: try settings of a study on the real hospitals, within its privacy budget."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server.commands.coordinator import HERE, DirOption, check, enqueue, follow
from server.control import answers
from server.history import History
from server.home import ServerHome
from server.initial import bring
from server.report.result import read_result
from server.report.trials import best_of, line_of, trials_table
from server.search.space import read_space
from server.search.trials import search as searched
from server.text import printable
from shared.errors import OperatorError
from shared.files import write_atomically
from shared.study import Study, read_study, study_hash
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
    of the best after them. Interrupting this leaves the trial running; started again, it is followed to its end.
    """
    home, read, console = ServerHome(dir_.expanduser().resolve()), read_study(study), Console(soft_wrap=True)
    check(home, read)
    out = home.path / "searches" / f"{read.name}-{study_hash(read).hex()[:16]}"
    out.mkdir(parents=True, exist_ok=True)
    if not answers(home):
        console.print("the coordinator is not up: it starts with `konsil-server up`")
    found = searched(
        read,
        read_space(space),
        trials=trials,
        storage=out / "trials.jsonl",
        better=kind_of(read).judge([0] * kind_of(read).counts).headline.better,
        run=lambda wanted, _: trial(home, wanted, study.parent, console),
        told=lambda one: console.print(line_of(one), highlight=False),
    )
    write_atomically(out / "best.toml", write_toml(found.best).encode())
    bring(read, study.parent, out)
    console.print(trials_table(found))
    console.print(f"the best, with the epsilon that is left for it: {out / 'best.toml'}", highlight=False)


def trial(home: ServerHome, wanted: Study, beside: Path, console: Console) -> float | None:
    """The headline of a run of `wanted` on the validation patients: the run that there is, or a new one; None where it
    did not finish. Files that the study names lie `beside`."""
    history, own = History(home.history), study_hash(wanted).hex()
    there = [line.run for line in history.runs() if line.study_hash == own]
    text = write_toml(wanted).encode()
    run = there[0] if there else enqueue(home, history, wanted, text, beside, purpose="search")
    console.print(f"{'goes on with' if there else 'queued'}: run {run}", highlight=False)
    try:
        follow(home, history, run, console)
    except OperatorError as error:  # one trial less; its charges stay
        console.print(printable(str(error)), highlight=False)
        return None
    return best_of(read_result(home.runs / run / "result.json"))
