"""One start of a queued run, inside the ServerApp: from its last checkpoint to its end.

Guarantees: at most one process conducts a run (a lock that dies with its holder); whatever ends it is in the history,
unless it was killed: then the history says `running`, the lock is free, and the conductor starts it again.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from server.collect import Link
from server.history import Diary, History
from server.home import ServerHome
from server.nodes import owner_of
from server.run import asked, conduct, enter_run
from shared.errors import KonsilError, OperatorError
from shared.study import read_study

LOCK = "lock"
#: Seconds in which the lock may be tried in vain: whoever looks whether it is held, holds it for that moment.
LOOK_S = 1.0


def take_turn(home: ServerHome, run: str, link: Link) -> None:
    """Conduct `run` over `link` until it is over."""
    history = History(home.history)
    folder = home.runs / history.run(run).run
    with held(folder / LOCK):
        starts = history.start(run)
        try:
            study = read_study(folder / "study.toml")
            start = enter_run(folder, study, run, starts=starts, purpose=asked(folder))
            result = conduct(start, link, home.federation, Diary(history, run), owner=lambda node: owner_of(home, node))
            if result.status == "finished" and result.purpose == "model":
                from server.models import publish_model  # noqa: PLC0415  matplotlib: 31 MB that no round needs

                publish_model(home, folder)
            history.end(run, result.status, result.because)
        except KonsilError as error:
            history.end(run, "failed", str(error))
            raise


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; raises OperatorError where another process has it."""
    with path.open("wb") as file:
        until = time.monotonic() + LOOK_S
        while not _lock(file):
            if time.monotonic() > until:
                raise OperatorError(
                    f"run {path.parent.name}",
                    expected="no other process that conducts it",
                    got="one",
                    do="Let it work.",
                )
            time.sleep(0.01)
        yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock at `path`."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return not _lock(file)


def _lock(file: IO[bytes]) -> bool:
    """Whether the lock is ours now, until `file` is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
