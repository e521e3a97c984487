"""Real processes under the supervisor: restarted, stopped, killed with it, and never left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import shared.supervise
from shared.errors import InputError
from shared.supervise import Program, python, supervise

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def code(text: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", text, *map(str, arguments))


#: Writes its process number to argv[1] and sleeps.
SLEEPER = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(60)"
#: The same, deaf to SIGTERM, with a child as deaf.
DEAF = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork();"
    "open(sys.argv[1], 'a').write(f'{os.getpid()} '); time.sleep(60)"
)


def told(capsys: pytest.CaptureFixture[str], event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if line["event"] == event]


def until(happened: Callable[[], bool], programs: list[Program]) -> None:
    """Supervise until `happened`, in this, the main thread."""
    stop, end = threading.Event(), time.monotonic() + 20

    def tick() -> None:
        assert time.monotonic() < end
        if happened():
            stop.set()

    supervise(programs, stop=stop, tick=tick)


def numbers(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split(" ")[:-1]] if path.exists() else []


def gone(number: int) -> bool:
    """Dead, and its parent knows: no zombie."""
    return not (Path("/proc") / str(number)).exists()


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.supervise, "POLL_S", 0.01)


def deaths(capsys: pytest.CaptureFixture[str], count: int, *, longest_s: float | None = None) -> list[object]:
    runs: list[str] = []
    until(lambda: len(runs) > count, [Program("p", code("print('run')"), read=runs.append, longest_s=longest_s)])
    return [line["again_in_s"] for line in told(capsys, "died")][:count]


def test_the_dead_are_restarted_later_and_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared.supervise, "SHORTEST_S", 0.01)
    monkeypatch.setattr(shared.supervise, "LONGEST_S", 0.05)
    assert deaths(capsys, 4) == [0.01, 0.02, 0.04, 0.05]


def test_a_program_may_be_restarted_sooner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shared.supervise, "SHORTEST_S", 0.01)
    assert deaths(capsys, 4, longest_s=0.02) == [0.01, 0.02, 0.02, 0.02]


def test_what_is_stale_is_stopped_and_started_anew(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    changed = [False, True]
    sleeper = Program("p", code(SLEEPER, tmp_path / "n"), stale=lambda: bool(numbers(tmp_path / "n")) and changed.pop())
    until(lambda: not changed, [sleeper])
    output = capsys.readouterr().out
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert events == ["started", "stale", "stopped", "started", "stopped"]


def test_after_a_good_while_the_restart_is_quick_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared.supervise, "SHORTEST_S", 0.01)
    monkeypatch.setattr(shared.supervise, "WELL_S", 0.0)
    assert deaths(capsys, 3) == [0.01] * 3


def test_lines_are_read_whole_and_broken_text_too(tmp_path: Path) -> None:
    lines: list[str] = []
    text = r"import sys, time; sys.stdout.buffer.write(b'one\n\xff\ntwo\n'); sys.stdout.flush(); time.sleep(60)"
    until(lambda: len(lines) == 3, [Program("p", code(text), read=lines.append)])
    assert lines == ["one", "\ufffd", "two"]


def test_no_line_is_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(shared.supervise, "LONGEST_LINE", 100)
    text = "import time; print('x' * 250, flush=True); time.sleep(60)"
    until(lambda: len(lines) == 3, [Program("p", code(text), read=lines.append)])
    assert [len(line) for line in lines] == [100, 100, 50]


def test_stopping_goes_backwards_and_leaves_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [tmp_path / name for name in ("a", "b")]
    until(lambda: all(map(numbers, places)), [Program(at.name, code(SLEEPER, at)) for at in places])
    assert [line["program"] for line in told(capsys, "stopped")] == ["b", "a"]
    assert all(gone(number) for at in places for number in numbers(at))


def test_who_does_not_stop_is_killed_with_all_it_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = tmp_path / "deaf"
    until(lambda: len(numbers(at)) == 2, [Program("deaf", code(DEAF, at), grace_s=0.1)])
    assert [line["after_s"] for line in told(capsys, "killed")] == [0.1]
    wait_for(lambda: all(dead_or_orphan(number) for number in numbers(at)))  # its child dies a moment after it


def dead_or_orphan(number: int) -> bool:
    """Not running; its zombie may wait for whoever inherited it."""
    path = Path("/proc") / str(number) / "stat"
    return not path.exists() or path.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_killed_supervisors_leave_nobody(tmp_path: Path) -> None:
    """kill -9 of a supervisor, and of a supervisor's supervisor."""
    at = tmp_path / "pid"
    inner = (
        "import sys, threading; from shared.supervise import Program, supervise;"
        "supervise([Program('p', tuple(sys.argv[1:]))], stop=threading.Event())"
    )
    sleeper = code(SLEEPER, at)
    once = (sys.executable, "-P", "-c", inner, *sleeper)
    for command in (once, (sys.executable, "-P", "-c", inner, *once)):
        at.unlink(missing_ok=True)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as outer:
            wait_for(lambda: bool(numbers(at)))
            outer.send_signal(signal.SIGKILL)
        wait_for(lambda: dead_or_orphan(numbers(at)[0]))


def test_a_program_that_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where this Python lies in a folder that the program's user may not enter."""
    monkeypatch.setattr(shared.supervise, "python", lambda *_: ("/no/such/python",))
    with pytest.raises(InputError, match="program p: expected one that this user may run, got No such file"):
        supervise([Program("p", ())], stop=threading.Event())


@needs_root
def test_another_user_by_number_with_a_group_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(shared.supervise, "python", lambda *arguments: arguments[2:])  # this Python may be root's own
    until(
        lambda: len(lines) == 3,
        [Program("p", ("/bin/sh", "-c", "id -u; id -g; id -G; sleep 60"), "64001", read=lines.append)],
    )
    assert lines == ["64001"] * 3


def test_the_leash_starts_nothing_for_a_dead_parent(tmp_path: Path) -> None:
    done = subprocess.run(python("shared.leash", "1", *code("open('x', 'w')")), cwd=tmp_path, timeout=20, check=False)
    assert done.returncode == 1
    assert not (tmp_path / "x").exists()
