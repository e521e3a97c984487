"""Keep programs running: start them, restart the dead with back-off, stop all of them cleanly.

Guarantees: a program that dies is started again after 1, 2, 4, … 60 seconds (a program may have a lower limit; from 1
again once it held for a minute); when this process stops, or is killed, so do they (shared/leash); on stopping each has
its grace to finish, in reverse order of starting, then it is killed. Every start, death and stop is one line of the
journal.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from shared.accounts import Account, account
from shared.errors import InputError
from shared.journal import tell

SHORTEST_S, LONGEST_S = 1.0, 60.0
#: A program that ran this long was well; the next restart is quick again.
WELL_S = 60.0
POLL_S = 0.1
#: Characters of the longest line that `read` gets whole.
LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class Program:
    """What to run: `command` (absolute path first) as `user` (a name or number) with its groups, `env` beside ours.

    `read` gets each line it prints (from a thread of its own); without it the lines go where ours go. `stale` says when
    what it read at its start has changed, and it is to be started anew.
    """

    name: str
    command: tuple[str, ...]
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[str], None] | None = None
    stale: Callable[[], bool] | None = None
    grace_s: float = 30.0
    #: the longest pause before it is started again, where LONGEST_S is too long
    longest_s: float | None = None


def python(*arguments: str) -> tuple[str, ...]:
    """A command of this very Python, not shadowed by what lies in the working folder."""
    return (sys.executable, "-P", "-m", *arguments)


def script(name: str) -> str:
    """The console script `name` beside this Python."""
    return str(Path(sys.executable).parent / name)


class _Child:
    """One program and the process that runs it now."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[str] | None = None
        self._next_wait_s, self._started, self._due = SHORTEST_S, 0.0, 0.0

    def look(self) -> None:
        """Start it if it is due; note its death."""
        if self.process is None:
            if time.monotonic() >= self._due:
                self._start()
        elif (status := self.process.poll()) is not None:
            lived = time.monotonic() - self._started
            wait = SHORTEST_S if lived >= WELL_S else self._next_wait_s
            self._next_wait_s = min(2 * wait, self.program.longest_s or LONGEST_S)
            self._due, self.process = time.monotonic() + wait, None
            tell("died", program=self.program.name, status=status, seconds=round(lived, 1), again_in_s=wait)
        elif self.program.stale is not None and self.program.stale():
            tell("stale", program=self.program.name)
            self.stop()
            self.process = None

    def _start(self) -> None:
        program = self.program
        user = account(program.user) if program.user else None
        try:
            self.process = self._popen(user)
        except OSError as error:
            raise InputError(
                f"program {program.name}",
                expected=f"one that {program.user or 'this user'} may run",
                got=error.strerror or "an error",
                do=f"Let it read and run what is in {sys.prefix} and {sys.base_prefix}.",
            ) from None
        self._started = time.monotonic()
        if program.read and self.process.stdout:
            threading.Thread(target=_drain, args=(self.process.stdout, program.read), daemon=True).start()
        tell("started", program=program.name, pid=self.process.pid)

    def _popen(self, user: Account | None) -> "subprocess.Popen[str]":
        program = self.program
        return subprocess.Popen(  # noqa: S603  our own programs, no shell
            python("shared.leash", str(os.getpid()), *program.command),
            env={**os.environ, "PATH": _path(), **program.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program.read else None,
            stderr=subprocess.STDOUT if program.read else None,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C is ours to hand on
            umask=0o077,
            user=user.uid if user else None,
            group=user.groups[0] if user else None,
            extra_groups=user.groups[1:] if user else None,
        )

    def stop(self) -> None:
        """Ask it to end, wait for its grace, then kill it and whatever it started."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.program.grace_s)
            tell("stopped", program=self.program.name)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            tell("killed", program=self.program.name, after_s=self.program.grace_s)


def _path() -> str:
    """PATH with the scripts beside this Python first: Flower's programs start each other by name."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _drain(lines: IO[str], read: Callable[[str], None]) -> None:
    with lines:
        while line := lines.readline(LONGEST_LINE):
            read(line.rstrip("\n"))


def supervise(programs: Sequence[Program], *, stop: threading.Event, tick: Callable[[], None] = lambda: None) -> None:
    """Run `programs` until `stop` is set; `tick` is called between looks. Call from the main thread."""
    children = [_Child(program) for program in programs]
    try:
        while not stop.wait(POLL_S):
            for child in children:
                child.look()
            tick()
    finally:
        for child in reversed(children):
            child.stop()


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set. Call from the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
