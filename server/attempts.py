"""A step asked of the hospitals until its sum is opened and read; who was missing is remembered with the reason.

Guarantee: a sum that could not be opened, or that holds what no hospital has, is asked for again with a new plan and
never reaches the caller; after ATTEMPTS of them the step is given up.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from server.aggregate import Aggregator, Sum
from server.attendance import TooFewError
from server.observer import Observer, SiteJoined, SiteLeft, StepProgress
from server.report.result import LeftOut
from shared.errors import OperatorError
from shared.messages.tasks import STEP_OF, AnyTask

#: Attempts at one step before the run stops; each trains anew and spends anew.
ATTEMPTS = 3
#: Attempts of one start of the coordinator; the next start counts on from above them.
ATTEMPTS_PER_START = 1_000_000
#: Seconds a round waits for hospitals that vanished and are connected again to join again.
REJOIN_S = 15.0

R = TypeVar("R")


class Attempts:
    """Those of one run, through `aggregator`. `start` counts the starts of this run, from 1, never the same twice."""

    def __init__(self, aggregator: Aggregator, observer: Observer, *, start: int) -> None:
        self._aggregator, self._observer = aggregator, observer
        self._joined: set[str] = set()
        self._left: list[LeftOut] = []
        #: of the newest attempt
        self.number = start * ATTEMPTS_PER_START

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Who was missing so far, and why."""
        return tuple(self._left)

    def go_on(self, left_out: Iterable[LeftOut]) -> None:
        """Go on from who was missing before this start."""
        self._left = list(left_out)

    def sum(self, task: AnyTask, round_: int, read: Callable[[Sum], R]) -> tuple[Sum, R]:
        """The opened sum of `task`, and what `read` finds in it. Raises the OperatorError of the last attempt, or the
        first where asking again could not help."""
        step = STEP_OF[type(task)]
        for left in reversed(range(ATTEMPTS)):
            self.number += 1
            try:
                total = self._aggregator.aggregate(
                    task,
                    round_=round_,
                    attempt=self.number,
                    progress=lambda answered, asked: self._observer.notice(StepProgress(round_, step, answered, asked)),
                )
                found = read(total)
            except OperatorError as error:
                if not left or (isinstance(error, TooFewError) and not error.may_pass):
                    raise
                self.blame(round_, error)
                self.rejoin()
            else:
                self.missed(round_, step, total.missing)
                self.missed(round_, f"{step} confirm", total.unconfirmed)
                self.missed(round_, f"{step} unmask", total.unhelpful)
                return total, found
        raise AssertionError("the last attempt returns or raises")

    def join(self, round_: int) -> None:
        """Wait for the hospitals as long as the study lets them answer."""
        self.missed(round_, "join", self._welcome(self._aggregator.study.federation.timeout_s))

    def rejoin(self) -> None:
        """Wait a little for hospitals that vanished."""
        self._welcome(REJOIN_S)

    def missed(self, round_: int, step: str, reasons: Mapping[str, str]) -> None:
        """Remember who was missing from `step`, and why."""
        round_ = min(round_, self._aggregator.study.training.rounds)  # the final evaluation comes after the last
        for site, reason in sorted(reasons.items()):
            self._left.append(LeftOut(site=site, round=round_, step=step, reason=reason))
            self._observer.notice(SiteLeft(site, step, reason))

    def blame(self, round_: int, error: OperatorError) -> None:
        """Remember who was missing when a sum was lost; one that nobody was missing from names nobody."""
        if isinstance(error, TooFewError):
            self.missed(round_, error.step, error.missing)

    def _welcome(self, timeout_s: float) -> dict[str, str]:
        problems = self._aggregator.welcome(timeout_s, waits=self._waits)
        for name in sorted(set(self._aggregator.members.records) - self._joined):
            self._joined.add(name)
            self._observer.notice(SiteJoined(name))
        return problems

    def _waits(self, site: str, reason: str) -> None:
        self._observer.notice(SiteLeft(site, "join", reason))
