"""The ledger as a page for people, and as JSON: the same figures, in the order in which a data protection officer asks.

How much has the patient spent who has spent most, and what is left? How many have spent how much? On what, and when?
"""

import math
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from client.ledger import Line, Statement
from client.ledger.forgotten import Forgotten
from client.ledger.statement import Total
from shared.text import printable

#: Shares of the limit that divide patients into bands; without a limit, these ε.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
EDGES = (0.0, 1.0, 2.0, 4.0, 8.0)
_WHAT = {"train": "training", "evaluate": "evaluation", "imported": "imported"}
#: characters of a date, and by which a run stands to the right of its study
_DAY, _INDENT = 10, 2


@dataclass(frozen=True)
class Most:
    """What policy.toml allows each patient, at `delta`."""

    epsilon_total: float
    epsilon_per_study: float
    delta: float


@dataclass(frozen=True)
class Band:
    """`patients` whose ε is above `above` (None: any) and at most `up_to` (None: any)."""

    above: float | None
    up_to: float | None
    patients: int


@dataclass(frozen=True)
class Run:
    """One run, by what its patients were exposed to. `epsilon_alone`: if no other hospital had added its noise."""

    run: str
    what: str
    rounds: int
    patients: int
    epsilon: float
    epsilon_alone: float
    first: str
    last: str


@dataclass(frozen=True)
class StudyPart:
    """One study over all its runs; `left` of the limit per study, None without one."""

    study: str
    hash: str
    patients: int
    epsilon: float
    epsilon_alone: float
    left: float | None
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class LedgerPage:
    """All of it. ε is of the patient who has spent most, at `delta`; `limits` None where policy.toml says none at this
    δ; `forgotten`: what the audit log has and the ledger lacks."""

    delta: float
    charges: int
    patients: int
    epsilon: float
    epsilon_alone: float
    left: float | None
    limits: Most | None
    bands: tuple[Band, ...]
    studies: tuple[StudyPart, ...]
    forgotten: tuple[Forgotten, ...]


def page_of(statement: Statement, limits: Most | None, lost: tuple[Forgotten, ...]) -> LedgerPage:
    """The page that `statement` makes. Figures without bound are JSON's null."""
    whole = statement.whole
    edges = tuple(share * limits.epsilon_total for share in SHARES) if limits else EDGES
    counts = statement.bands(edges)
    return LedgerPage(
        delta=statement.delta,
        charges=statement.charges,
        patients=sum(counts),
        epsilon=whole.epsilon,
        epsilon_alone=whole.alone,
        left=max(0.0, limits.epsilon_total - whole.epsilon) if limits else None,
        limits=limits,
        bands=tuple(map(Band, (None, *edges), (*edges, None), counts)),
        studies=tuple(_study(total, statement, limits) for total in statement.studies),
        forgotten=lost,
    )


def _study(total: Total, statement: Statement, limits: Most | None) -> StudyPart:
    runs = tuple(_run(line) for line in statement.lines if line.study_hash == total.study_hash)
    left = max(0.0, limits.epsilon_per_study - total.epsilon) if limits else None
    return StudyPart(total.study, total.study_hash.hex(), total.patients, total.epsilon, total.alone, left, runs)


def _run(line: Line) -> Run:
    return Run(line.run, line.what, line.rounds, line.patients, line.epsilon, line.alone, line.first, line.last)


def show(page: LedgerPage, console: Console, *, alone: bool) -> None:
    """Print `page`; `alone`: with what it would be if no other hospital had added its noise."""
    console.print(_table(page, alone=alone))
    console.print(_bands(page))
    total = f"most spent by any one patient, over everything: ε = {_figure(page.epsilon)} at δ = {page.delta:g}"
    console.print(total, highlight=False)
    if page.limits is not None:
        console.print(
            f"policy.toml allows ε = {page.limits.epsilon_total:g} in all and {page.limits.epsilon_per_study:g} per"
            f" study; {_figure(page.left or 0.0)} is left to that patient",
            highlight=False,
        )
    if alone:
        console.print(
            f"if no other hospital had added its share of the noise: ε = {_figure(page.epsilon_alone)}", highlight=False
        )


def _table(page: LedgerPage, *, alone: bool) -> Table:
    table = _columns(alone=alone)
    for study in page.studies:
        rounds, ends = sum(run.rounds for run in study.runs), [(run.first, run.last) for run in study.runs]
        more = (_figure(study.epsilon_alone),) if alone else ()
        first, last = min(first for first, _ in ends), max(last for _, last in ends)
        figures = (str(rounds), str(study.patients), _figure(study.epsilon), *more, first[:_DAY], last[:_DAY])
        table.add_row(_words(study.study, "bold"), "", *figures)
        for run in study.runs:
            more = (_figure(run.epsilon_alone),) if alone else ()
            figures = (str(run.rounds), str(run.patients), _figure(run.epsilon), *more, run.first[:_DAY])
            name = Padding(_words(run.run), (0, 0, 0, _INDENT))
            table.add_row(name, _WHAT[run.what], *figures, run.last[:_DAY], style="dim")
        table.add_section()
    return table


def _columns(*, alone: bool) -> Table:
    """No rows yet. Whatever the terminal's width, names go on in the next line before a figure or a date is cut: in 80
    columns all is there, with `alone` too, and without lines between the columns."""
    table = Table(title="Privacy ledger", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("study, run", overflow="fold")
    table.add_column("what for", no_wrap=True)
    for heading in ("rounds", "patients"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("ε", "ε alone") if alone else ("ε",):
        table.add_column(heading, justify="right")  # "without bound" may take two lines
    for heading in ("first", "last"):
        table.add_column(heading, no_wrap=True)
    return table


def _bands(page: LedgerPage) -> Table:
    table = Table("ε so far", title=f"{page.patients} patients in the ledger")
    table.add_column("patients", justify="right")
    for band in page.bands:
        if band.above is None:
            name = "none"
        elif band.up_to is None:
            name = f"above {band.above:g}"
        else:
            name = f"above {band.above:g}, up to {band.up_to:g}"
        table.add_row(name, str(band.patients))
    return table


def _figure(epsilon: float) -> str:
    return "without bound" if math.isinf(epsilon) else f"{epsilon:.3f}"


def _words(text: str, style: str = "") -> Text:
    """What others named (studies, runs): text, no markup, and steers no terminal."""
    return Text(printable(text), style=style)
