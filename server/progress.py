"""Live progress of a run in the terminal: round, who is in, who dropped out and why, figures, ε per hospital, time
left.

Guarantees: a hospital that ever dropped out stays marked to the end; words from outside are shown as plain text, no
terminal codes, no markup. Where output is no terminal, one plain line per event. Draws in the caller's thread only.

    with Progress(Console(stderr=True)) as progress: ...   # progress.notice(event)
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from server import observer as seen
from server.text import NONE, duration, number, plural, printable


@dataclass
class _Site:
    is_in: bool = False
    missed: list[str] = field(default_factory=list)
    trained: int = 0
    epsilon: float | None = None


class Progress:
    """An observer that draws. The display lives inside its `with`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(self, console=console, auto_refresh=False)
        self._run = seen.RunStarted("", "", 0, 0)
        self._sites: dict[str, _Site] = defaultdict(_Site)
        self._round, self._done, self._step = 0, 0, ""
        self._finished: list[seen.RoundFinished] = []

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def notice(self, event: seen.Event) -> None:
        """Take one event into the display, and print its line where it has one."""
        line = self._take(event)
        lasting = isinstance(event, seen.SiteLeft | seen.RunFinished)  # stays above the display as that moves on
        if line and (lasting or not self._console.is_terminal):
            bad = isinstance(event, seen.SiteLeft) or (lasting and not line.startswith("finished"))
            self._console.print(Text(printable(line), style="bold red" if bad else ""), soft_wrap=True)
        if self._live.is_started:
            self._live.refresh()

    def _take(self, event: seen.Event) -> str:
        line = ""
        match event:
            case seen.RunStarted(run, study, expected, rounds):
                self._run = event
                line = f"{study}: run {run}, {plural(expected, 'hospital')} expected, {plural(rounds, 'round')}"
            case seen.SiteJoined(site):
                self._sites[site].is_in = True
                line = f"in: {site}"
            case seen.SiteLeft(site, step, reason):
                when = f"round {self._round}, {step}" if self._round else step
                self._sites[site].is_in = False
                self._sites[site].missed.append(f"{when}: {reason}")
                line = f"out: {site} ({when}): {reason}"
            case seen.RoundStarted(round_):
                self._round, self._done, self._step = round_, round_ - 1, ""
            case seen.StepProgress(_, step, answered, asked):
                self._step = f"{step} {answered}/{asked}"
            case seen.RoundFinished():
                line = self._finish_round(event)
            case seen.RunFinished(status, because):
                why = f": {because}" if because else ""
                line = f"{status} after {plural(self._done, 'round')}{why}{self._absent()}"
        return line

    def _finish_round(self, event: seen.RoundFinished) -> str:
        self._round, self._done, self._step = event.round, event.round, ""
        self._finished.append(event)
        for site in event.trained:
            self._sites[site].is_in = True
            self._sites[site].trained += 1
        for site, epsilon in event.epsilon.items():
            self._sites[site].epsilon = epsilon
        worst = max(event.epsilon.values(), default=None)  # of no hospital where the study's privacy is off
        figures = self._figure() + (f", ε at most {number(worst, 2)}" if worst is not None else "")
        trained = f"{len(event.trained)} of {plural(self._run.sites_expected, 'hospital')} trained"
        return f"round {event.round}/{self._run.rounds}: {figures}, {trained}, {duration(event.seconds)}{self._left()}"

    def _figure(self) -> str:
        name, sign = self._run.figure, 1 if self._run.better == "higher" else -1
        known = [(event.figure, event.round) for event in self._finished if event.figure is not None]
        best = max(known, key=lambda pair: sign * pair[0], default=None)
        now = number(self._finished[-1].figure if self._finished else None)
        noisy = "noisy; " if self._run.noisy else ""
        return f"{name} {now} ({noisy}best {number(best[0])} in round {best[1]})" if best else f"{name} {now}"

    def _left(self) -> str:
        rest = (self._run.rounds - self._done) * sum(event.seconds for event in self._finished)
        return f", about {duration(rest / len(self._finished))} left" if self._finished and rest > 0 else ""

    def _absent(self) -> str:
        gone = [name for name, site in self._sites.items() if site.missed]
        never = max(0, self._run.sites_expected - len(self._sites))
        return f"; left out at times: {', '.join(gone)}" * bool(gone) + f"; never came: {never}" * bool(never)

    def __rich__(self) -> RenderableType:
        """The display as it stands. Hospitals that are out come first: a low terminal cuts the end off."""
        head = Text(printable(f"{self._run.study}  run {self._run.run}"), style="bold")
        line = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, self._run.rounds), completed=self._done, width=30)
        step = f"{printable(self._step)}{self._left()}".strip(", ")
        line.add_row(f"round {self._round}/{self._run.rounds}", bar, step)
        here = sum(site.is_in for site in self._sites.values())
        table = Table(title=f"{here} of {plural(self._run.sites_expected, 'hospital')} in", title_justify="left")
        for column in ("hospital", "now", "trained", "ε", "left out"):
            table.add_column(column, overflow="fold", justify="right" if column in ("trained", "ε") else "left")
        for name, site in sorted(self._sites.items(), key=lambda pair: (pair[1].is_in, not pair[1].missed)):
            now = Text("in", style="green") if site.is_in else Text("OUT", style="bold red")
            why = "; ".join(site.missed[-1:]) + f" ({len(site.missed)} times)" * (len(site.missed) > 1)
            missed = Text(printable(why) or NONE, style="red" if why else "dim")
            table.add_row(Text(printable(name)), now, str(site.trained), number(site.epsilon, 2), missed)
        return Group(head, line, Text(printable(self._figure())), table)
