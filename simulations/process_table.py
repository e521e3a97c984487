"""Find the processes of a federation by what they are, and kill them as a power cut or the kernel would."""

import os
import signal
import time
from pathlib import Path
from typing import Literal

from shared.errors import OperatorError
from simulations.processes import Processes

Role = Literal["superlink", "conductor", "serverapp", "node", "supernode", "agent"]
#: Seconds to wait for a process to appear.
APPEAR_S = 60.0


def pid_of(federation: Processes, role: Role, site: str = "") -> int | None:
    """The process that plays `role` now (at `site`), if there is one."""
    coordinator = str(federation.coordinator.path)
    home = str(federation.site(site))
    words: dict[Role, tuple[str, ...]] = {
        "superlink": ("server.superlink", coordinator),
        "conductor": ("server.conductor", coordinator),
        "serverapp": ("flwr-serverapp",),
        "node": ("client.node", f"{home}-node"),
        "supernode": ("client.supernode", f"{home}-node/ca.pem"),
        "agent": ("client.agent_main", home),
    }
    parent = pid_of(federation, "superlink") if role == "serverapp" else None
    for pid, command in _commands():
        if all(any(part == word or part.endswith(f"/{word}") for part in command) for word in words[role]) and (
            parent is None or parent in _ancestors(pid)
        ):
            return pid
    return None


def kill(federation: Processes, role: Role, site: str = "") -> int:
    """kill -9 the process that plays `role`; returns the process it was. Raises OperatorError where there is none."""
    until = time.monotonic() + APPEAR_S
    while (pid := pid_of(federation, role, site)) is None:
        if time.monotonic() > until:
            raise OperatorError(f"process {role} {site}".strip(), expected="running", got="none")
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return pid


def _commands() -> list[tuple[int, list[str]]]:
    """Every process and its command line; the leash of a program is not the program."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            except OSError:
                continue
            if command and "shared.leash" not in command:
                found.append((int(folder.name), command))
    return found


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1:
        try:
            pid = int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            break
        found.add(pid)
    return found
