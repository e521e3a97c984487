"""konsil-simulate search and cross-validate: many runs of one study, within its privacy budget."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.checkpoints import Checkpoints
from server.initial import bring
from server.report.result import Purpose, Result
from server.report.trials import best_of, line_of, trials_table
from server.search.space import read_space
from server.search.trials import search
from server.text import number, span
from shared.files import write_atomically
from shared.study import Study, read_study
from shared.tasks.registry import kind_of
from shared.toml import write_toml
from simulations.archives import archives_of
from simulations.federation import Wish, simulate
from simulations.folds import Folds, cross_validate

StudyFile = Annotated[Path, typer.Argument(help="The study file.")]
Sites = Annotated[list[str], typer.Option(help="NAME=ARCHIVE, once per hospital; labels in ARCHIVE/labels.csv.")]


def cross_validation(
    study: StudyFile,
    site: Sites,
    *,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Parts of the patients, each held out once.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder for everything the runs leave.")] = Path("folds-out"),
) -> None:
    """Run STUDY once for each fold of the patients, and judge all of them together. Goes on where it was stopped."""
    console, read = Console(), read_study(study)
    found = cross_validate(read, folds, out, _runner(site, out, study.parent, console))
    write_atomically(out / "folds.json", msgspec.json.encode(found))
    console.print(folds_table(found))


def folds_table(found: Folds) -> Table:
    """A line for each fold, then all patients together."""
    head = found.together.headline
    table = Table("fold", "images", head.shown, "95 % interval")
    for index, one in enumerate(found.each, 1):
        own = one.headline
        table.add_row(str(index), str(one.images), number(own.value), span(own.low, own.high))
    table.add_section()
    table.add_row("all", str(found.together.images), number(head.value), span(head.low, head.high))
    table.caption = f"standard deviation over the folds {number(found.spread)}"
    return table


def searching(
    study: StudyFile,
    site: Sites,
    *,
    space: Annotated[Path, typer.Option(help="TOML file: what may change, and from where to where.")],
    trials: Annotated[int, typer.Option(min=1, help="Runs to try, those of an earlier start included.")] = 20,
    out: Annotated[Path, typer.Option(help="Folder for everything the runs leave.")] = Path("search-out"),
) -> None:
    """Find the settings of STUDY that do best on the validation patients. Goes on where it was stopped.

    The study's epsilon is for all trials and the run of the best after them.
    """
    console, read = Console(), read_study(study)
    run = _runner(site, out, study.parent, console, purpose="search")
    better = kind_of(read).judge([0] * kind_of(read).counts).headline.better
    out.mkdir(parents=True, exist_ok=True)
    found = search(
        read,
        read_space(space),
        trials=trials,
        storage=out / "trials.jsonl",
        better=better,
        run=lambda wanted, number_: _figure(run, wanted, out / f"trial-{number_}"),
        told=lambda trial: console.print(line_of(trial), highlight=False),
    )
    write_atomically(out / "best.toml", write_toml(found.best).encode())
    bring(read, study.parent, out)
    console.print(trials_table(found))
    console.print(f"the best, with the epsilon that is left for it: {out / 'best.toml'}", soft_wrap=True)


def _figure(run: Callable[[Study, Path], Result], wanted: Study, folder: Path) -> float | None:
    """The headline of one trial. None of one that was killed in its first round: what it charged cannot be gone on
    with, and begun anew it would be charged twice."""
    if folder.exists() and Checkpoints(folder / "checkpoints").empty:
        return None
    return best_of(run(wanted, folder))


def _runner(
    site: list[str], out: Path, beside: Path, console: Console, purpose: Purpose = "model"
) -> Callable[[Study, Path], Result]:
    """Runs a study on the archives of `site`, all runs in the same homes."""
    archives = archives_of(site)

    def run(study: Study, folder: Path) -> Result:
        half = not Checkpoints(folder / "checkpoints").empty  # it was stopped on the way
        wish = Wish(study, write_toml(study), archives, folder, resume=half, purpose=purpose, beside=beside, homes=out)
        return simulate(wish, console)

    return run
