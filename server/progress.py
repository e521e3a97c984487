"""Live progress of a run in the terminal: round, who is in, who dropped out and why, AUC, ε per hospital, time left.

Guarantees: a hospital that ever dropped out stays marked to the end; names and reasons from outside are shown as
plain text (no terminal codes, no markup). Where output is no terminal, one plain line per event instead.

    with Progress(Console(stderr=True)) as progress:
        coordinate(..., observer=progress)
"""

from dataclasses import dataclass, field
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from server.observer import (
    Event,
    RoundFinished,
    RoundStarted,
    RunFinished,
    RunStarted,
    SiteJoined,
    SiteLeft,
    StepProgress,
)
from server.text import NONE, duration, number, plural, printable


@dataclass
class _Site:
    is_in: bool = False
    missed: list[str] = field(default_factory=list)
    trained: int = 0
    epsilon: float | None = None


class Progress:
    """An observer that draws. A context manager: the display lives inside the `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, get_renderable=self.__rich__, refresh_per_second=4)
        self._run = RunStarted("", "", 0, 0)
        self._sites: dict[str, _Site] = {}
        self._round = 0
        self._step = ""
        self._done = 0
        self._seconds: list[float] = []
        self._auc: float | None = None
        self._best: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def notice(self, event: Event) -> None:
        """Take one event into the display, and print its line where it has one."""
        line = self._take(event)
        lasting = isinstance(event, SiteLeft | RunFinished)  # stays above the display when that moves on
        if line and (lasting or not self._console.is_terminal):
            style = "bold red" if isinstance(event, SiteLeft) or line.startswith(("stopped", "failed")) else ""
            self._console.print(Text(printable(line), style=style), soft_wrap=True)

    def _take(self, event: Event) -> str:
        match event:
            case RunStarted():
                self._run = event
                expected = plural(event.sites_expected, "hospital")
                return f"{event.study}: run {event.run}, {expected} expected, {plural(event.rounds, 'round')}"
            case SiteJoined(site):
                self._site(site).is_in = True
                return f"in: {site}"
            case SiteLeft(site, step, reason):
                self._site(site).is_in = False
                when = f"round {self._round}, {step}" if self._round else step
                self._site(site).missed.append(f"{when}: {reason}")
                return f"out: {site} ({when}): {reason}"
            case RoundStarted(round_):
                self._round, self._done, self._step = round_, round_ - 1, ""
                return ""
            case StepProgress(_, step, answered, asked):
                self._step = f"{step} {answered}/{asked}"
                return ""
            case RoundFinished():
                return self._finish_round(event)
            case RunFinished(status, because):
                return self._finish(status, because)

    def _site(self, name: str) -> _Site:
        return self._sites.setdefault(name, _Site())

    def _finish_round(self, event: RoundFinished) -> str:
        self._round = self._done = event.round
        self._seconds.append(event.seconds)
        self._step = ""
        for site in event.trained:
            self._site(site).is_in = True
            self._site(site).trained += 1
        for site, epsilon in event.epsilon.items():
            self._site(site).epsilon = epsilon
        if event.auc is not None:
            self._auc = event.auc
            self._best = max(self._best or (event.auc, event.round), (event.auc, event.round), key=lambda pair: pair[0])
        worst = max(event.epsilon.values(), default=None)
        sites = f"{len(event.trained)} of {plural(self._run.sites_expected, 'hospital')} trained"
        left = f", {self._left()} left" if self._left() else ""
        figures = f"AUC {number(event.auc)}, ε at most {number(worst, 2)}"
        return f"round {event.round}/{self._run.rounds}: {figures}, {sites}, {duration(event.seconds)}{left}"

    def _finish(self, status: str, because: str) -> str:
        gone = [name for name, site in self._sites.items() if site.missed]
        absent = max(0, self._run.sites_expected - len(self._sites))
        never = f"; {plural(absent, 'hospital')} never came" if absent else ""
        missing = f"; left out at times: {', '.join(gone)}" if gone else ""
        why = f": {because.rstrip('.')}" if because else ""
        return f"{status} after {plural(self._done, 'round')}{why}{missing}{never}"

    def _left(self) -> str:
        rest = self._run.rounds - self._done
        return duration(rest * sum(self._seconds) / len(self._seconds)) if self._seconds and rest > 0 else ""

    def __rich__(self) -> RenderableType:
        """The display as it stands."""
        head = Text(printable(f"{self._run.study}  run {self._run.run}"), style="bold")
        bar = Table.grid(padding=(0, 2))
        left = f"about {self._left()} left" if self._left() else ""
        count = f"round {self._round}/{self._run.rounds}"
        moving = ProgressBar(total=max(1, self._run.rounds), completed=self._done, width=30)
        bar.add_row(count, moving, left, Text(printable(self._step), style="dim"))
        best = f"   best {number(self._best[0])} in round {self._best[1]}" if self._best else ""
        return Group(head, bar, Text(f"AUC {number(self._auc)}{best}"), self._table())

    def _table(self) -> Table:
        """Hospitals, those that are out or were first: a low terminal cuts the end off."""
        here = sum(site.is_in for site in self._sites.values())
        table = Table(title=f"{here} of {plural(self._run.sites_expected, 'hospital')} in", title_justify="left")
        table.add_column("hospital", overflow="fold")
        table.add_column("now")
        table.add_column("trained", justify="right")
        table.add_column("ε", justify="right")
        table.add_column("left out", overflow="fold")
        for name, site in sorted(self._sites.items(), key=lambda pair: (pair[1].is_in, not pair[1].missed)):
            now = Text("in", style="green") if site.is_in else Text("OUT", style="bold red")
            missed = f"{site.missed[-1]}{f' (and {len(site.missed) - 1} before)' if site.missed[1:] else ''}"
            why = Text(printable(missed if site.missed else NONE), style="red" if site.missed else "dim")
            table.add_row(Text(printable(name)), now, str(site.trained), number(site.epsilon, 2), why)
        return table
