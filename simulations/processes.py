"""A whole federation of real processes on loopback: a coordinator, N hospital daemons, TLS and node keys between.

Everything is done by the commands that people run, in folders as people have them: OUT/coordinator, OUT/sites/NAME,
OUT/sites/NAME-node. Guarantees: when the `with` ends, or this process dies, no process of it is left.
"""

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console

from server.commands.coordinator import Status
from server.history import History
from server.home import ServerHome
from server.report.result import Purpose, Result, read_result
from shared.errors import OperatorError
from shared.files import write_atomically
from shared.supervise import python, script
from simulations.sites import POLICY

#: Seconds until every daemon must be registered.
READY_S = 180.0
#: Seconds a daemon may take to stop before it is killed.
STOP_S = 30.0
#: What a run leaves that its person looks for.
LEFT = ("result.json", "report.html", "model.safetensors")


@dataclass
class Processes:
    """The federation in `out`, of the hospitals `names`; `start` and `stop` its processes."""

    out: Path
    names: Sequence[str]
    #: before the command of a daemon: where a hospital stands behind a line of its own, say
    before: Mapping[str, Sequence[str]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def coordinator(self) -> ServerHome:
        """The coordinator's folder."""
        return ServerHome(self.out / "coordinator")

    def site(self, name: str) -> Path:
        """One hospital's folder."""
        return self.out / "sites" / name

    def log(self, name: str) -> Path:
        """What the daemon of `name` ("coordinator" too) prints."""
        return self.out / "logs" / f"{name}.log"

    def command(self, tool: str, *arguments: str | Path) -> str:
        """Run one of our commands to its end; returns its output. Raises OperatorError where it fails."""
        done = subprocess.run(  # noqa: S603  our own scripts
            [script(tool), *map(str, arguments)], env=self.env(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise OperatorError(f"{tool} {arguments[0]}", expected="success", got=done.stderr.strip()[-500:])
        return done.stdout

    def start(self, name: str) -> None:
        """Start the daemon of one hospital, or "coordinator"."""
        tool = ("konsil-server", "up") if name == "coordinator" else ("konsil-client", "up", *self.where(name))
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603  our own scripts, leashed to this process
                python("shared.leash", str(os.getpid()), *self.before.get(name, ()), script(tool[0]), *tool[1:]),
                env=self.env(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, name: str) -> int:
        """Stop one daemon as a service manager would; returns its exit status."""
        process = self.running.pop(name)
        process.terminate()
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def wait_ready(self, names: Sequence[str] | None = None) -> None:
        """Return when every hospital (of `names`) is registered. Raises OperatorError after READY_S."""
        wanted, until = set(self.names if names is None else names), time.monotonic() + READY_S
        while time.monotonic() < until and all(daemon.poll() is None for daemon in self.running.values()):
            found = self.status()
            online = {name for name, node in found.hospitals.items() if node is not None and node.online}
            if found.up and wanted <= online:
                return
            time.sleep(0.5)
        raise OperatorError(
            "daemons", expected=", ".join(sorted(wanted)), got="some missing", do=f"See {self.out}/logs."
        )

    def status(self) -> Status:
        """What `konsil-server status` says."""
        done = subprocess.run(  # noqa: S603  our own script
            [script("konsil-server"), "status", "--json"], env=self.env(), capture_output=True, check=False
        )
        return msgspec.json.decode(done.stdout, type=Status)

    def socket(self, name: str) -> Path:
        """The agent's socket of one hospital: in the system's folder for such, since a socket's path must be short."""
        return _socket_folder() / f"{_short(self.site(name))}.sock"

    def where(self, name: str) -> tuple[str, ...]:
        """Options that name one hospital's folder and socket."""
        return ("--home", str(self.site(name)), "--socket", str(self.socket(name)))

    def env(self) -> dict[str, str]:
        """The environment of every command."""
        return {**os.environ, "KONSIL_DIR": str(self.coordinator.path), "OMP_NUM_THREADS": "1"}


def found(
    out: Path,
    archives: Mapping[str, Path],
    *,
    tell: Callable[[str], None],
    policy: str = POLICY,
    host: str = "localhost",
) -> Processes:
    """Found a federation in `out` and let every hospital join, unless that was done before. Hospitals dial `host`."""
    federation = Processes(out.resolve(), tuple(archives))
    if (federation.coordinator.path / "server.toml").exists():
        return federation
    ports = free_ports(3)
    options = [f"--{name}={port}" for name, port in zip(("port", "control-port", "web-port"), ports, strict=True)]
    where = ("--host", host, "--bind", "127.0.0.1" if host == "localhost" else host)
    tell("founding the federation")
    federation.command("konsil-server", "init", federation.coordinator.path, *where, *options)
    federation.command("konsil-server", "invite", *archives)
    for name, archive in archives.items():
        tell(f"{name} joins")
        _join(federation, name, archive, policy)
    requests = [federation.site(name) / f"{name}.request" for name in archives]
    federation.command("konsil-server", "admit", "--yes", *requests)
    return federation


def _join(federation: Processes, name: str, archive: Path, policy: str) -> None:
    invite = federation.coordinator.path / "invites" / f"{name}.invite"
    where = federation.where(name)
    federation.command("konsil-client", "join", invite, "--archive", archive, "--single-user", *where)
    write_atomically(federation.site(name) / "policy.toml", policy.encode(), mode=0o600)


@contextmanager
def up(federation: Processes) -> Iterator[Processes]:
    """Coordinator and all daemons running and registered."""
    try:
        for name in ("coordinator", *federation.names):
            federation.start(name)
        federation.wait_ready()
        yield federation
    finally:
        for name in list(federation.running):
            federation.stop(name)


def run_study(
    federation: Processes, study: Path, console: Console, *, resume: bool = False, purpose: Purpose = "model"
) -> Result:
    """Queue `study`, follow it to its end, and leave its report in `out`."""
    history = History(federation.coordinator.history)
    again = ["--resume", history.runs()[0].run] if resume and history.runs() else [str(study)]
    if purpose == "survey":
        again.append("--survey")
    console.print("coordinator and hospitals are up", highlight=False)
    subprocess.run(  # noqa: S603  our own script; what it says of the run is for whoever watches
        [script("konsil-server"), "run", *again], env=federation.env(), check=False
    )
    folder = federation.coordinator.runs / history.runs()[0].run
    for name in LEFT:
        if (folder / name).exists():
            shutil.copyfile(folder / name, federation.out / name)
    if not (folder / "result.json").exists():
        raise OperatorError("run", expected="a result", got=history.runs()[0].because or "none", do="See the logs.")
    return read_result(folder / "result.json")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _socket_folder() -> Path:
    """A folder of this user's alone, made if need be: anybody may make one of that name before us."""
    folder = Path(tempfile.gettempdir()) / f"konsil-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise OperatorError(
            str(folder),
            expected="a folder of this user's alone, mode 0700",
            got=f"{stat.filemode(found.st_mode)} of user {found.st_uid}",
            do="Remove it, or set TMPDIR to a folder of your own.",
        )
    return folder


def _short(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]
