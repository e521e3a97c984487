"""One real federation on loopback for all tests here: a coordinator, and a hospital whose two sides are two users.

As root everything runs in a network namespace of its own, whose only way out leads nowhere and is listened to: see
`Network`. Without root the hospital runs as one user, and the tests that need two say so.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from client import frames
from client.commands.join import join
from client.enrolment import request_path
from client.home import Home
from client.node_home import NodeHome
from client.status_record import Status
from server.commands.federation import admit, init, invite
from server.home import ServerHome
from shared.errors import KonsilError
from shared.supervise import python, script
from simulations.hospital import PROFILES, write_hospital
from simulations.processes import free_ports

ROOT = os.geteuid() == 0
#: Users nobody else has; they need no account.
AGENT, NODE, THIRD = 64001, 64002, 64003
READY_S = 120.0
CLONE_NEWNET = 0x40000000
BECOME = "setpriv --reuid={0} --regid={0} --clear-groups"
OUTGOING = 4  # PACKET_OUTGOING, linux/if_packet.h
#: A way out that leads to an address without anybody: what is sent there is heard, and lost.
WAY_OUT = """
link set lo up
link add out0 type veth peer name out1
link set out1 up
link set out0 up
addr add 198.51.100.1/24 dev out0
neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev out0
route add default via 198.51.100.2
addr add 2001:db8::1/64 dev out0 nodad
neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev out0
route add ::/0 via 2001:db8::2
"""

#: $1 the Python's folder, $2 the closed one above it, then the command.
COVER = """
exec 9<"$1"
mount -t tmpfs -o mode=0711 none "$2"
mkdir -p "$1"
mount --no-canonicalize --bind /proc/self/fd/9 "$1"
exec 9<&-
shift 2
exec "$@"
"""


def _readable() -> tuple[str, ...]:
    """A prefix to commands that lets every user run this Python, where it lies in somebody's closed home.

    In a mount namespace of its own an empty folder covers that home, with nothing but the Python in it.
    """
    base = Path(sys.base_prefix)
    closed = [folder for folder in base.parents if not folder.stat().st_mode & 1]
    if not ROOT or not closed:
        return ()
    return (
        shutil.which("unshare") or "",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        COVER,
        "sh",
        str(base),
        str(closed[-1]),
    )


READABLE = _readable()


@dataclass
class Network:
    """A network namespace; `heard` gets the target of everything that left it, and of every DNS question at all."""

    heard: list[str] = field(default_factory=list)
    changed: threading.Event = field(default_factory=threading.Event)
    namespace: int = -1

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the processes it starts meanwhile, in the namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            if self.namespace < 0:
                _system("unshare", CLONE_NEWNET)
                self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
                self._furnish()
            _system("setns", self.namespace, CLONE_NEWNET)
            yield
        finally:
            _system("setns", home, CLONE_NEWNET)
            os.close(home)

    def _furnish(self) -> None:
        subprocess.run(["ip", "-batch", "-"], input=WAY_OUT, text=True, check=True)
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        threading.Thread(target=self._listen, args=(ear,), daemon=True).start()

    def _listen(self, ear: socket.socket) -> None:
        while True:
            packet, (device, _, kind, *_) = ear.recvfrom(1 << 16)
            target = _target(packet) if kind == OUTGOING else ""
            if target and (device != "lo" or target.endswith(":53")):
                self.heard.append(target)
                self.changed.set()


def _system(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


def _target(packet: bytes) -> str:
    """address:port of an IP packet's destination; empty for what the kernel itself says to neighbours (ICMPv6)."""
    if packet[0] >> 4 == 4:
        head, protocol, address = (packet[0] & 15) * 4, packet[9], socket.inet_ntop(socket.AF_INET, packet[16:20])
    elif packet[0] >> 4 == 6:
        head, protocol, address = 40, packet[6], socket.inet_ntop(socket.AF_INET6, packet[24:40])
    else:
        return ""
    if protocol in (socket.IPPROTO_ICMPV6, socket.IPPROTO_HOPOPTS):
        return ""
    return f"{address}:{int.from_bytes(packet[head + 2 : head + 4], 'big')}"


@dataclass(frozen=True)
class Real:
    """A coordinator and the hospital `alder`, running; `birch` is admitted and stays away."""

    folder: Path
    network: Network
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    agent_user: ClassVar[int] = AGENT
    node_user: ClassVar[int] = NODE
    third_user: ClassVar[int] = THIRD

    def until(self, happened: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Return once `happened`; fail with what the processes said where it does not."""
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                said = "".join(f"\n{name}: {self.log(name).read_text()[-3000:]}" for name in self.running)
                pytest.fail(f"{what}: not within {seconds:g} s{said}")
            time.sleep(0.05)

    @staticmethod
    def as_user(user: int, code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """`code` in a Python of its own, run to its end by `user` in no group but its own."""
        process = subprocess.Popen(
            [*READABLE, *BECOME.format(user).split(), sys.executable, "-P", "-c", code, *map(str, arguments)],
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            output, _ = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    @property
    def coordinator(self) -> ServerHome:
        return ServerHome(self.folder / "coordinator")

    @property
    def home(self) -> Home:
        return Home(self.folder / "alder")

    @property
    def node(self) -> NodeHome:
        return NodeHome(self.folder / "alder-node")

    @property
    def archive(self) -> Path:
        return self.folder / "archives" / "alder"

    @property
    def socket(self) -> Path:
        return self.folder / "alder-run" / "agent.sock"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, name: str, *command: str) -> None:
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                python("shared.leash", str(os.getpid()), *READABLE, script(command[0]), *command[1:]),
                env=os.environ | {"KONSIL_DIR": str(self.coordinator.path), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def status(self) -> Status | None:
        """What the agent says, if it listens."""
        try:
            return msgspec.json.decode(frames.ask(self.socket, frames.STATUS, b"", timeout_s=5.0), type=Status)
        except KonsilError:
            return None

    def why_not(self) -> str:
        found = self.status()
        return found.why_not if found is not None else ""

    def taking_part(self) -> bool:
        for name, process in self.running.items():
            assert process.poll() is None, self.log(name).read_text()
        found = self.status()
        return found is not None and found.taking_part

    def stop(self) -> None:
        processes = list(self.running.values())
        self.running.clear()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)


def found(folder: Path) -> None:
    """Keys, certificates and homes, by the functions behind the commands."""
    coordinator = folder / "coordinator"
    public, control, web = free_ports(3)
    init(coordinator, "localhost", bind="127.0.0.1", port=public, control_port=control, web_port=web)
    invite(["alder", "birch"], coordinator)
    users = {"agent_user": str(AGENT), "node_user": str(NODE)} if ROOT else {"single_user": True}
    for number, (name, who) in enumerate({"alder": users, "birch": {"single_user": True}}.items()):
        archive = folder / "archives" / name
        write_hospital(archive, patients=14, seed=number, profile=PROFILES[name])
        join(coordinator / "invites" / f"{name}.invite", archive, home=folder / name, **who)
    if ROOT:
        for path in [folder / "archives" / "alder", *(folder / "archives" / "alder").rglob("*")]:
            os.chown(path, AGENT, AGENT)
            path.chmod(0o700)
    admit([request_path(Home(folder / name)) for name in ("alder", "birch")], coordinator, yes=True)


@pytest.fixture(scope="session")
def network() -> Network:
    return Network()


@pytest.fixture(autouse=True)
def in_the_network(network: Network) -> Iterator[None]:
    if not ROOT:
        yield
        return
    with network.inside():
        yield


@pytest.fixture(scope="session")
def real(network: Network) -> Iterator[Real]:
    folder = Path(tempfile.mkdtemp(prefix="konsil-"))
    folder.chmod(0o711)
    federation = Real(folder, network)
    try:
        if ROOT:
            with network.inside():
                _start(federation)
        else:
            _start(federation)
        yield federation
    finally:
        federation.stop()
        shutil.rmtree(folder)


def _start(federation: Real) -> None:
    found(federation.folder)
    federation.start("coordinator", "konsil-server", "up")
    federation.start("alder", "konsil-client", "up", "--home", str(federation.home.path))
    federation.until(federation.taking_part, "alder takes part", READY_S)
