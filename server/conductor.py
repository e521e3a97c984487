"""Work through the queue of runs, one after the other: `python -m server.conductor DIR`.

A Konsil run outlives Flower runs: Flower's ends when a process of it dies; ours then goes on in a new one, from its
last checkpoint. Guarantees: one run at a time; a run whose process died is started again; one that dies again and again
without finishing a round is ended as failed, with a reason.
"""

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from server.checkpoints import Checkpoints
from server.control import Control, control
from server.history import History
from server.home import ServerHome
from server.nodes import match_roster
from server.turn import LOCK, is_held
from shared.console import run_main
from shared.errors import KonsilError
from shared.journal import tell
from shared.supervise import stop_on_signals

TICK_S = 0.5
NODES_S = 2.0
#: Seconds Flower may take from StartRun to a living ServerApp.
STARTING_S = 90.0
#: Starts in a row without a finished round before a run is given up.
MOST_STARTS = 6


@dataclass
class _Current:
    """The Flower run that conducts the run at hand."""

    run: str
    flower: int
    since: float
    seen_alive: bool = False


class Conductor:
    """The queue of `home`; `tick` looks once."""

    def __init__(self, home: ServerHome) -> None:
        self._home, self._history = home, History(home.history)
        self._current: _Current | None = None
        self._nodes_due = 0.0
        #: starts since the run's last new checkpoint, and that checkpoint's round
        self._tries, self._round = 0, -1

    def tick(self, link: Control) -> None:
        """Do what is due. Raises httpx.HTTPError while the SuperLink is away."""
        if time.monotonic() >= self._nodes_due:
            match_roster(self._home, link)
            self._nodes_due = time.monotonic() + NODES_S
        self._forget_ended(link)
        line = self._history.next()
        if line is not None and not self._alive(line.run, link):
            self._start(line.run, link)

    def _forget_ended(self, link: Control) -> None:
        """A run that is over and is queued again later starts from zero; a cancelled one's process is stopped."""
        current = self._current
        state = self._history.run(current.run).state if current is not None else "running"
        if current is not None and state not in ("queued", "running"):
            if state == "cancelled":
                link.stop(current.flower)
            self._current = None

    def _alive(self, run: str, link: Control) -> bool:
        """Whether a process conducts `run`, or will in a moment."""
        current = self._current
        if is_held(self._home.runs / run / LOCK):
            if current is not None:
                current.seen_alive = True
            return True
        if current is None or current.run != run:
            return False
        starting = not current.seen_alive and time.monotonic() - current.since < STARTING_S
        return starting and not link.over(current.flower)

    def _start(self, run: str, link: Control) -> None:
        if self._current is not None and self._current.run == run:
            tell("conducting process died", run=run)
            with suppress(httpx.HTTPError):
                link.stop(self._current.flower)
        else:
            self._tries = 0
        if self._hopeless(run):
            self._history.end(run, "failed", f"its process died {MOST_STARTS} times without finishing a round")
            return
        self._current = _Current(run, link.start(run), since=time.monotonic())
        tell("run started", run=run, flower=str(self._current.flower), attempt=self._tries)

    def _hopeless(self, run: str) -> bool:
        """Count this start; whether there were too many since the last round."""
        newest = Checkpoints(self._home.runs / run / "checkpoints").last_round()
        self._tries = self._tries + 1 if newest == self._round else 1
        self._round = newest
        return self._tries > MOST_STARTS


def serve(home: ServerHome) -> None:
    """Work until SIGTERM."""
    stop = stop_on_signals()
    conductor = Conductor(home)
    with control(home) as link:
        _work(conductor, link, stop)


def _work(conductor: Conductor, link: Control, stop: threading.Event) -> None:
    away = False
    while not stop.wait(TICK_S):
        try:
            conductor.tick(link)
            away = False
        except httpx.HTTPError as error:
            if not away:
                tell("superlink away", why=type(error).__name__)
            away = True
        except KonsilError as error:
            tell("conductor", trouble=str(error))
            stop.wait(5.0)


if __name__ == "__main__":
    run_main("konsil-server conductor", lambda: serve(ServerHome(Path(sys.argv[1]).resolve())))
