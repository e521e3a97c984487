"""Run a command and measure the whole of it: wall seconds, and the peak memory of all its processes together."""

import os
import secrets
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "KONSIL_BENCHMARK"


@dataclass(frozen=True)
class Measured:
    """`peak_bytes`: largest sum of proportional set sizes over all processes the command started, however deep."""

    seconds: float
    peak_bytes: int


def run(command: list[str]) -> Measured:
    """Run `command`, its output shown; raises CalledProcessError if it fails."""
    token = secrets.token_hex(8)
    stop, peak = threading.Event(), [0]

    def watch() -> None:
        while not stop.wait(0.5):
            peak[0] = max(peak[0], sum(_memory(process) for process in _marked(token)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    try:
        subprocess.run(command, env=os.environ | {MARK: token}, check=True)
        seconds = time.monotonic() - started
    finally:
        stop.set()
        watcher.join()
    return Measured(seconds, peak[0])


def _marked(token: str) -> list[Path]:
    mark = f"{MARK}={token}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:  # it ended, or is not ours
            continue
    return found


def _memory(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
