"""What hospitals live with, done to a real federation: slow, late, gone, cut off, a thin line, a full disk.

Each function gives the lines of the table for one hardship. Lines and disks of their own need root (network namespaces,
tmpfs); nothing outside this host's own memory is touched.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from server.history import History
from shared.errors import OperatorError
from simulations.fault_suite import VICTIM, Disturbed, Line, Strike, disturbed, rows, study_text
from simulations.moments import Stage
from simulations.process_table import pid_of
from simulations.processes import Processes

ROUNDS, TIMEOUT_S = 3, 20.0
#: The coordinator's end and the hospital's end of the line between them.
NEAR, FAR = "10.77.0.1", "10.77.0.2"
SPACE, LINK = "konsil-faults", "konsil0"
TEXT = study_text(ROUNDS, timeout_s=TIMEOUT_S)

Hardship = Callable[[Processes, Disturbed, Console], list[Line]]


def slow_site(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
    """The agent stands still for longer than the round waits, then goes on."""

    def freeze(_stage: Stage) -> None:
        pid = pid_of(federation, "agent", VICTIM)
        if pid is None:
            raise OperatorError("agent", expected="running", got="none")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5 * TIMEOUT_S)
        os.kill(pid, signal.SIGCONT)

    return _all_rounds(
        federation, calm, console, "hospital 30 s too slow (20 s allowed)", step="in training", do=freeze
    )


def late_site(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
    """The hospital comes up when the second round has begun."""
    federation.stop(VICTIM)
    try:
        return _all_rounds(
            federation, calm, console, "hospital joins late", step="before train", do=lambda _: federation.start(VICTIM)
        )
    finally:
        if VICTIM not in federation.running:
            federation.start(VICTIM)
        federation.wait_ready()


def leaving_site(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
    """The hospital stops its daemon after its vector left, and does not come back."""

    def leave(_stage: Stage) -> None:
        federation.stop(VICTIM)

    try:
        return _all_rounds(federation, calm, console, "hospital leaves for good", step="vector left", do=leave)
    finally:
        federation.start(VICTIM)
        federation.wait_ready()


def cut_line(seconds: float) -> Hardship:
    """The hospital's line is dead for `seconds`."""

    def hardship(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
        def cut(_stage: Stage) -> None:
            _ip("link", "set", LINK, "down")
            time.sleep(seconds)
            _ip("link", "set", LINK, "up")

        return _all_rounds(federation, calm, console, f"line cut for {seconds:g} s", step="in training", do=cut)

    return hardship


def thin_line(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
    """The hospital's line carries one megabit per second for the whole run."""
    device = ("dev", LINK, "root")
    limit = ("tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms")
    _run("tc", "qdisc", "add", *device, *limit)
    try:
        return _all_rounds(federation, calm, console, "line of 1 Mbit/s", step="before train", do=lambda _: None)
    finally:
        _run("tc", "qdisc", "del", *device)


def full_disk_site(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
    """The hospital's disk is full for one round."""
    return _full(federation, calm, console, "hospital's disk full", federation.site(VICTIM))


def full_disk_coordinator(federation: Processes, calm: Disturbed, console: Console) -> list[Line]:
    """The coordinator's disk is full; the operator frees it and says `run --resume`."""
    lines = _full(federation, calm, console, "coordinator's disk full", federation.coordinator.runs)
    history = History(federation.coordinator.history)
    run = history.runs()[0]
    if run.state == "finished":
        return lines
    federation.command("konsil-server", "run", "--resume", run.run)
    return [*lines, Line("  then run --resume", "", f"the run {history.run(run.run).state}", float("nan"))]


def _full(federation: Processes, calm: Disturbed, console: Console, fault: str, folder: Path) -> list[Line]:
    ballast = folder / "ballast"

    def fill(_stage: Stage) -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        time.sleep(TIMEOUT_S)
        ballast.unlink()

    try:
        return _all_rounds(federation, calm, console, fault, step="before train", do=fill)
    finally:
        ballast.unlink(missing_ok=True)


def _all_rounds(
    federation: Processes, calm: Disturbed, console: Console, fault: str, *, step: str, do: Callable[[Stage], None]
) -> list[Line]:
    """A run with the hardship in its second round, and what became of every round."""
    strike = Strike(fault, step, 2, do, lambda stage, at: stage.wait(step, at))  # type: ignore[arg-type]
    run = disturbed(federation, TEXT, [strike], console)
    shown = [Strike(fault, f"{step}, round 2" if at == 2 else f"  round {at}", at, do, strike.wait) for at in (1, 2, 3)]
    return rows(run, shown, calm)


@contextmanager
def own_line() -> Iterator[tuple[str, ...]]:
    """A network namespace with one line to this host; yields what to write before a command to run it there."""
    _ip("netns", "add", SPACE)
    try:
        _ip("link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", SPACE)
        _ip("addr", "add", f"{NEAR}/24", "dev", LINK)
        _ip("link", "set", LINK, "up")
        _ip("-n", SPACE, "addr", "add", f"{FAR}/24", "dev", "eth0")
        _ip("-n", SPACE, "link", "set", "eth0", "up")
        _ip("-n", SPACE, "link", "set", "lo", "up")
        yield (_where("ip"), "netns", "exec", SPACE)
    finally:
        _ip("netns", "del", SPACE)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own at `folder`, with what was there."""
    kept = [(path.relative_to(folder), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder))
    try:
        for name, data in kept:
            (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        yield
    finally:
        _run("umount", "-l", str(folder))


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(tool: str, *words: str) -> None:
    subprocess.run([_where(tool), *words], check=True)  # noqa: S603  the system's own tools


def _where(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise OperatorError(tool, expected="installed", got="none", do="Install it.")
    return path
