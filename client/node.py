"""The network side of a hospital: the SuperNode, the relay, and word to the agent of how they fare.

    python -m client.node NODE_HOME

Guarantees: imports no torch and reads nothing but its own folder; the SuperNode is restarted when it dies; whether the
coordinator really knows this node is told, not assumed.
"""

import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from client import frames
from client.app import app
from client.executor import Runtime, execute
from client.leave import leave_when, remember
from client.node_home import NodeHome
from client.node_report import NodeReport
from shared.console import run_main
from shared.errors import SiteError
from shared.files import write_atomically
from shared.journal import now, tell
from shared.supervise import Program, python, stop_on_signals, supervise
from shared.wire import pack

#: Seconds between reports to the agent, changed or not.
REPORT_S = 5.0
SECRET_BYTES = 32
_REGISTERED = re.compile(r"SuperNode ID: (\d+)")
_UNKNOWN = re.compile(r"Failed to activate SuperNode|does not recognize")
_TROUBLE = re.compile(r"Connection attempt failed|Failed to initialize|Heartbeat failed|Giving up")
_AGAIN = re.compile(r"Connection successful")


@dataclass
class Watch:
    """How the network side fares, put together from the SuperNode's own lines."""

    report: NodeReport
    changed: threading.Event = field(default_factory=threading.Event)
    #: set when a SuperNode was not let in
    refused: threading.Event = field(default_factory=threading.Event)
    #: told the node's number when one was
    admitted: Callable[[str], None] = lambda _number: None

    def read(self, line: str) -> None:
        """Take one line the SuperNode printed; what it says to us alone is not repeated."""
        if found := _REGISTERED.search(line):
            self._now(registered=True, node=found[1], since=now(), trouble="")
            self.admitted(found[1])
            tell("registered", node=found[1], coordinator=self.report.coordinator)
        elif _UNKNOWN.search(line):
            self._lost("the coordinator does not know this node's key: not admitted yet, or removed")
            self.refused.set()
        elif _TROUBLE.search(line):
            self._lost("the coordinator cannot be reached")
        elif _AGAIN.search(line) and self.report.node:
            self._now(registered=True, since=now(), trouble="")
            tell("connected again", node=self.report.node)
        elif "Starting Flower SuperNode" in line:
            self._now(registered=False, restarts=self.report.restarts + 1)

    def _lost(self, trouble: str) -> None:
        self._now(registered=False, trouble=trouble)
        tell("not connected", coordinator=self.report.coordinator, why=trouble)

    def relayed(self) -> None:
        """One message was answered."""
        self._now(messages=self.report.messages + 1, last_message=now())

    def _now(self, **facts: object) -> None:
        self.report = msgspec.structs.replace(self.report, **facts)
        self.changed.set()


def tell_agent(path: Path, watch: Watch, stop: threading.Event) -> None:
    """Report every REPORT_S, and at once when something changed; an agent that is away is told later."""
    while not stop.is_set():
        watch.changed.wait(REPORT_S)
        watch.changed.clear()
        try:
            frames.ask(path, frames.REPORT, pack(watch.report), timeout_s=5.0)
        except SiteError:
            stop.wait(1.0)


def supernode(home: NodeHome, port: int, secret: Path, watch: Watch) -> Program:
    """Flower's SuperNode: dials out to the coordinator only, serves its Runtime API on loopback only."""
    config = home.config
    command = (
        *python("client.supernode"),
        *("--superlink", config.coordinator),
        *("--root-certificates", str(home.authority)),
        *("--auth-supernode-private-key", str(home.key)),
        *("--node-config", f'socket="{config.socket}"'),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(secret)),
        *("--host", "127.0.0.1", "--port", str(port)),
    )
    env = {"FLWR_HOME": str(home.path / "flower")}
    return Program("supernode", command, env=env, read=watch.read, grace_s=5.0, longest_s=8.0)


def serve(home: NodeHome) -> None:
    """Run until SIGTERM."""
    stop = stop_on_signals()
    config = home.config
    secret = home.path / "runtime.secret"
    write_atomically(secret, secrets.token_bytes(SECRET_BYTES), mode=0o600)
    port = free_port()
    watch = Watch(
        NodeReport(coordinator=config.coordinator, restarts=-1), admitted=lambda number: remember(home, number)
    )
    runtime = Runtime(f"127.0.0.1:{port}", secret.read_bytes())
    work = threading.Thread(target=execute, args=(runtime, app, stop), kwargs={"done": watch.relayed}, daemon=True)
    word = threading.Thread(target=tell_agent, args=(Path(config.socket), watch, stop), daemon=True)
    goodbye = threading.Thread(target=leave_when, args=(watch.refused, home, stop), daemon=True)
    for thread in (word, work, goodbye):
        thread.start()
    supervise([supernode(home, port, secret, watch)], stop=stop)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    run_main("konsil-client node", lambda: serve(NodeHome(Path(sys.argv[1]))))
