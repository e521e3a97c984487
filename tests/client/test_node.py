"""What the network side makes of the SuperNode's lines, and what it starts."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from client import frames
from client.node import Watch, free_port, supernode, tell_agent
from client.node_home import NodeHome
from client.node_report import NodeReport
from shared.errors import SiteError
from shared.wire import unpack

START, KNOWN = "INFO :      Starting Flower SuperNode", "INFO :      SuperNode ID: 4711"


def after(*lines: str) -> NodeReport:
    watch = Watch(NodeReport(coordinator="c:9092", restarts=-1))
    for line in lines:
        watch.read(line)
    return watch.report


def test_started_is_not_registered() -> None:
    found = after(START)
    assert (found.registered, found.node, found.restarts) == (False, "", 0)


def test_registered_when_the_coordinator_says_so() -> None:
    found = after(START, KNOWN)
    assert (found.registered, found.node, found.trouble) == (True, "4711", "")
    assert found.since


@pytest.mark.parametrize("line", ["Failed to activate SuperNode: x", "The SuperLink does not recognize this node"])
def test_a_key_that_is_unknown(line: str) -> None:
    found = after(START, KNOWN, line)
    assert not found.registered
    assert "not admitted yet, or removed" in found.trouble


@pytest.mark.parametrize(
    "line", ["WARNING: Connection attempt failed, retrying in 1 s", "Heartbeat failed", "Giving up"]
)
def test_lost_and_found_again(line: str) -> None:
    assert not after(START, KNOWN, line).registered
    assert after(START, KNOWN, line, "Connection successful after 3 s").registered
    assert not after(START, line, "Connection successful after 3 s").registered  # never was


def test_restarts_and_messages_are_counted() -> None:
    watch = Watch(NodeReport(coordinator="c:9092", restarts=-1))
    for line in (START, KNOWN, START, START):
        watch.read(line)
    watch.relayed()
    assert (watch.report.restarts, watch.report.messages, watch.report.registered) == (2, 1, False)


def test_other_lines_say_nothing() -> None:
    assert after("", "junk", "SuperNode ID: x", "\x1b[2J" * 1000) == NodeReport(coordinator="c:9092", restarts=-1)


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    (tmp_path / "node.toml").write_text('site = "alder"\ncoordinator = "c:9092"\nsocket = "/run/konsil/a b.sock"\n')
    return NodeHome(tmp_path)


def test_the_supernode_runs_no_app_and_listens_on_loopback_only(home: NodeHome, tmp_path: Path) -> None:
    found = supernode(home, 1234, tmp_path / "secret", Watch(NodeReport(coordinator="c:9092")))
    words = list(found.command)
    options = {name: words[words.index(name) + 1] for name in words if name.startswith("--")}
    assert options == {
        "--superlink": "c:9092",
        "--root-certificates": str(home.authority),
        "--auth-supernode-private-key": str(home.key),
        "--node-config": 'socket="/run/konsil/a b.sock"',
        "--isolation": "process",
        "--superexec-auth-secret-file": str(tmp_path / "secret"),
        "--host": "127.0.0.1",
        "--port": "1234",
    }
    assert dict(found.env) == {"FLWR_HOME": str(home.path / "flower")}


def test_the_agent_is_told_at_once_and_an_agent_that_is_away_later(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, stop = Watch(NodeReport(coordinator="c:9092")), threading.Event()
    told: list[NodeReport] = []

    def ask(_: Path, kind: bytes, data: bytes, *, timeout_s: float) -> bytes:
        assert kind == frames.REPORT
        told.append(unpack(NodeReport, data))
        if len(told) == 1:
            watch.relayed()
            raise SiteError("agent", got="none")
        stop.set()
        return b""

    monkeypatch.setattr(frames, "ask", ask)
    wait: Callable[[float | None], bool] = stop.wait
    monkeypatch.setattr(stop, "wait", lambda seconds: wait(0.0))
    watch.relayed()
    tell_agent(Path("s"), watch, stop)
    assert [report.messages for report in told] == [1, 2]


def test_a_free_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass
