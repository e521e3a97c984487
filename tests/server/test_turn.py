"""The lock of a run, held by real processes."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import server.turn
from server.collect import Arrival
from server.history import History
from server.home import ServerHome
from server.turn import LOCK, held, is_held, take_turn
from shared.errors import KonsilError, OperatorError
from shared.study import MINIMAL, parse_study

HOLDER = """
import sys, time
from pathlib import Path
from server.turn import held
with held(Path(sys.argv[1])):
    print('on', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / LOCK


@pytest.fixture
def holder(lock: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-P", "-c", HOLDER, lock], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.turn, "LOOK_S", 0.1)


def test_two_processes_never_hold_it(lock: Path, holder: "subprocess.Popen[str]") -> None:
    assert is_held(lock)
    with pytest.raises(OperatorError, match="no other process that conducts it"), held(lock):
        pytest.fail("both hold it")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_held(lock)
    with held(lock):
        assert is_held(lock)
    assert not is_held(lock)


def test_where_nothing_was_nothing_is_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "no" / "such" / LOCK)


def test_whoever_looks_keeps_nobody_out(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The conductor looks all the time; to look is to hold it for a moment."""
    monkeypatch.setattr(server.turn, "LOOK_S", 20.0)
    stop = threading.Event()
    lock.touch()

    def look() -> None:
        while not stop.is_set():
            is_held(lock)

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    for _ in range(50):
        with held(lock):
            pass
    stop.set()
    for thread in looking:
        thread.join()


class NoLink:
    def nodes(self) -> tuple[int, ...]:
        pytest.fail("asked")

    def ask(self, requests: Mapping[int, bytes], timeout_s: float) -> Iterator[Arrival]:
        pytest.fail("asked")


def test_what_ends_a_run_is_in_the_history(tmp_path: Path) -> None:
    home, study = ServerHome(tmp_path), parse_study(MINIMAL)
    history = History(home.history)
    history.enqueue("r", study)
    (home.runs / "r").mkdir(parents=True)
    with pytest.raises(KonsilError):
        take_turn(home, "r", NoLink())  # its study is gone
    line = history.run("r")
    assert (line.state, line.starts) == ("failed", 1)
    assert "study.toml" in line.because


def test_a_run_that_another_conducts_is_left_alone(tmp_path: Path) -> None:
    home = ServerHome(tmp_path)
    history = History(home.history)
    history.enqueue("r", parse_study(MINIMAL))
    (home.runs / "r").mkdir(parents=True)
    command = [sys.executable, "-P", "-c", HOLDER, str(home.runs / "r" / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OperatorError):
            take_turn(home, "r", NoLink())
        holder.kill()
    assert (history.run("r").state, history.run("r").starts) == ("queued", 0)
