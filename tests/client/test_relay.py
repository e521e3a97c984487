"""The relay: what it asks, how long it waits, and what it leaves out of the process."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import client.app
from client import frames
from client.app import make_relay, to_agent
from shared.errors import PeerError, SiteError
from shared.relay import open_message, wrap


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who Flower believes to be at work in this process; no message is made without."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def context(path: Path) -> Context:
    return Context(run_id=1, node_id=2, node_config={"socket": str(path)}, state=RecordDict(), run_config={})


def request(content: RecordDict, ttl: float = 60.0) -> Message:
    return Message(content=content, dst_node_id=2, message_type=MessageType.TRAIN, ttl=ttl)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The agent is away for two tries, then answers; the tries it saw."""
    seen: list[bytes] = []

    def ask(_: Path, kind: bytes, data: bytes, *, timeout_s: float | None) -> bytes:
        assert (kind, timeout_s) == (frames.MESSAGE, None)
        seen.append(data)
        if len(seen) < 3:
            raise SiteError("agent", got="none")
        return b"answer"

    monkeypatch.setattr(frames, "ask", ask)
    monkeypatch.setattr(client.app, "RETRY_S", 0.0)
    return seen


def test_a_restarted_agent_is_asked_again_with_the_same_bytes(asked: list[bytes]) -> None:
    assert to_agent(b"request", context(Path("s")), time.time() + 60) == b"answer"
    assert asked == [b"request"] * 3


def test_nobody_is_asked_for_an_answer_that_nobody_waits_for(asked: list[bytes]) -> None:
    with pytest.raises(SiteError):
        to_agent(b"request", context(Path("s")), time.time() - 1)
    assert asked == [b"request"]


def test_what_no_agent_takes_is_not_tried_again(tmp_path: Path) -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return frames.LIMITS[frames.MESSAGE] + 1

    with pytest.raises(PeerError):
        to_agent(Long(), context(tmp_path / "s"), time.time() + 60)


def test_an_agent_that_starts_late_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app, "RETRY_S", 0.01)

    def start() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            for answer in (b"", b"m" + (3).to_bytes(8, "big") + b"yes"):  # the first dies in the middle of it
                connection, _ = listener.accept()
                with connection:
                    frames.receive_data(connection, frames.receive_kind(connection)[1])
                    connection.sendall(answer)

    late = threading.Timer(0.1, start)
    late.start()
    assert to_agent(b"request", context(tmp_path / "s"), time.time() + 60) == b"yes"
    late.join()


def test_the_relay_hands_over_bytes_and_until_when() -> None:
    seen: list[Any] = []

    def deliver(data: bytes, _: Context, until: float) -> bytes:
        seen.append((data, until))
        return b"reply"

    relay, message = make_relay(deliver), request(wrap(b"data"), ttl=60.0)
    until = message.metadata.created_at + 60.0
    reply = relay(message=message, context=context(Path("s")))
    assert open_message(reply) == b"reply"
    relay(message=request(RecordDict()), context=context(Path("s")))
    assert seen[0] == (b"data", until)
    assert seen[1][0] == b""


@pytest.mark.parametrize(
    "module", ["client.node", "client.executor", "server.app", "server.conductor", "server.superlink"]
)
def test_the_network_side_and_the_coordinator_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(int('torch' in sys.modules or 'monai' in sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], timeout=60, check=False)
    assert done.returncode == 0


def test_importing_any_of_us_switches_telemetry_off(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, shared; print(*(os.environ[k] for k in ('FLWR_TELEMETRY_ENABLED', 'FLWR_DISABLE_UPDATE_CHECK')))"
    environment = {"FLWR_TELEMETRY_ENABLED": "1", "FLWR_DISABLE_UPDATE_CHECK": "0", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "1"]
