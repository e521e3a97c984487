"""A run as its events tell it: the rounds that ended, who is in, who is out since when and why, what is under way.

Guarantees: folded from the events alone, in their order; the same events give the same view; a round that was repeated
after a restart counts once, as it ended last; a hospital that missed a step stays in `absences` to the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from server import observer as seen
from server.history import Moment, RunLine
from shared.judged import Better

Presence = Literal["in", "out", "not yet"]


@dataclass(frozen=True)
class Round:
    """One round that ended, when, and which of the run's hospitals did not train."""

    at: str
    event: seen.RoundFinished
    missing: tuple[str, ...]

    @property
    def worst_epsilon(self) -> float | None:
        """The largest ε any hospital's patients spent by then; None without privacy."""
        return max(self.event.epsilon.values(), default=None)


@dataclass(frozen=True)
class Absence:
    """One hospital that missed one step, and why. Round 0 is before the first."""

    at: str
    site: str
    round: int
    step: str
    reason: str


@dataclass(frozen=True)
class Site:
    """One hospital in this run. `why` is empty unless it is out."""

    name: str
    presence: Presence = "not yet"
    since: str = ""
    why: str = ""
    trained: int = 0
    epsilon: float | None = None


@dataclass(frozen=True)
class RunView:
    """One run. `rounds_planned` is 0 before it started; `left_s` None where nobody can say."""

    line: RunLine
    rounds_planned: int
    sites_expected: int
    #: the round under way, or the last one
    round: int
    rounds: tuple[Round, ...]
    sites: tuple[Site, ...]
    absences: tuple[Absence, ...]
    step: seen.StepProgress | None
    left_s: float | None
    #: every figure is of counts with noise on them
    noisy: bool = False
    #: what the headline figure is called, and which is better
    figure: str = "AUC"
    better: Better = "higher"

    @property
    def best(self) -> Round | None:
        """The round with the best figure."""
        judged = [one for one in self.rounds if one.event.figure is not None]
        sign = 1 if self.better == "higher" else -1
        return max(judged, key=lambda one: sign * (one.event.figure or 0.0), default=None)

    @property
    def worst(self) -> Site | None:
        """The hospital whose patients spent most."""
        spent = [site for site in self.sites if site.epsilon is not None]
        return max(spent, key=lambda site: site.epsilon or 0.0, default=None)


@dataclass
class _Fold:
    planned: int = 0
    expected: int = 0
    noisy: bool = False
    figure: str = "AUC"
    better: Better = "higher"
    round: int = 0
    rounds: dict[int, Round] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    absences: list[Absence] = field(default_factory=list)
    step: seen.StepProgress | None = None
    #: who missed this round's evaluation: trained or not, it is out
    unjudged: set[str] = field(default_factory=set)

    def take(self, at: str, event: seen.Event) -> None:
        match event:
            case seen.RunStarted(_, _, expected, rounds, noisy):
                self.planned, self.expected, self.noisy, self.step = rounds, expected, noisy, None
                self.figure, self.better = event.figure, event.better
            case seen.SiteJoined(site):
                self._move(site, "in", at, "")
            case seen.SiteLeft(site, step, reason):
                self._leave(at, site, step, reason)
            case seen.RoundStarted(number):
                self.round, self.step, self.unjudged = number, None, set()
            case seen.StepProgress():
                self.step = event
            case seen.RoundFinished():
                self._finish(at, event)
            case seen.RunFinished():
                self.step = None

    def _leave(self, at: str, site: str, step: str, reason: str) -> None:
        self.absences.append(Absence(at, site, self.round, step, reason))
        if step.startswith("evaluate"):
            self.unjudged.add(site)
        self._move(site, "out", at, f"{step}: {reason}")

    def _finish(self, at: str, event: seen.RoundFinished) -> None:
        for name in event.trained:
            if name not in self.unjudged:
                self._move(name, "in", at, "")
        for name, epsilon in event.epsilon.items():
            self.sites[name] = replace(self._site(name), epsilon=epsilon)
        self.rounds[event.round] = Round(at, event, ())
        self.round, self.step = event.round, None

    def _move(self, name: str, presence: Presence, at: str, why: str) -> None:
        """`since` is when the hospital came or went, not when it was last seen so."""
        site = self._site(name)
        since = site.since if site.presence == presence else at
        self.sites[name] = replace(site, presence=presence, since=since, why=why)

    def _site(self, name: str) -> Site:
        return self.sites.setdefault(name, Site(name))


def view_of(line: RunLine, moments: Iterable[Moment], expected: Iterable[str] = (), now: str = "") -> RunView:
    """The view of `line`; `expected` names hospitals that may not have been heard of yet; `now` in ISO UTC."""
    fold = _Fold()
    for moment in moments:
        fold.take(moment.at, moment.event)
    sites = fold.sites | {name: Site(name) for name in expected if name not in fold.sites}
    rounds = tuple(_complete(fold.rounds[number], sites) for number in sorted(fold.rounds))
    trained = [name for one in rounds for name in one.event.trained]
    ordered = sorted(sites.values(), key=lambda site: (site.presence == "in", site.name))  # who is out comes first
    return RunView(
        line=line,
        rounds_planned=fold.planned,
        sites_expected=max(fold.expected, len(sites)),
        round=fold.round,
        rounds=rounds,
        sites=tuple(replace(site, trained=trained.count(site.name)) for site in ordered),
        absences=tuple(fold.absences),
        step=fold.step if line.state == "running" else None,
        left_s=_left(rounds, fold.planned, now) if line.state == "running" else None,
        noisy=fold.noisy,
        figure=fold.figure,
        better=fold.better,
    )


def _complete(one: Round, sites: Iterable[str]) -> Round:
    return replace(one, missing=tuple(sorted(set(sites) - set(one.event.trained))))


def _left(rounds: tuple[Round, ...], planned: int, now: str) -> float | None:
    """Seconds to the last round's end, if the rounds to come take as long as those so far."""
    if not rounds or not now:
        return None
    mean = sum(one.event.seconds for one in rounds) / len(rounds)
    passed = (datetime.fromisoformat(now) - datetime.fromisoformat(rounds[-1].at)).total_seconds()
    return max(0.0, mean * (planned - len(rounds)) - max(0.0, passed))
