"""The real SuperLink from outside, and from another user's side of loopback."""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.control import control

if TYPE_CHECKING:
    from tests.processes.conftest import Real

#: Bytes that a hostile caller sends, and those by which the SuperLink may grow.
FLOOD, GROWTH = 1 << 30, 100 << 20


def connect(real: "Real", port: int) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(real.coordinator.tls / "ca.pem"))
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    return context.wrap_socket(plain, server_hostname="localhost")


def ask(real: "Real", head: str, *, port: int = 0) -> int:
    """The status of a request written by hand; 0 where the line was cut."""
    with connect(real, port or real.coordinator.config.port) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n")
        answer = http.client.HTTPResponse(line)
        with suppress(http.client.HTTPException, OSError):
            answer.begin()
            return answer.status
        return 0


def post(path: str, headers: str = "") -> str:
    return f"POST {path} HTTP/1.1\nHost: x\nContent-Type: application/protobuf\nContent-Length: 0\n{headers}"


def superlink(real: "Real") -> Path:
    """Its folder in /proc."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (folder / "cmdline").exists():
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"server.superlink" in words and str(real.coordinator.path).encode() in words:
                return folder
    pytest.fail("no SuperLink")


def most_memory(real: "Real") -> int:
    """Bytes it ever held (proc(5), VmHWM)."""
    status = (superlink(real) / "status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


PATHS = ("/docs", "/openapi.json", "/health", "/v1/control/start-run", "/v1/control/register-node",
         "/v1/runtime/acquire-task", "//v1/control/start-run", "/v1/fleet/../control/start-run",
         "/v1/fleet/%2e%2e/control/start-run", "/v1/fleet/..%2fcontrol/start-run", "/V1/CONTROL/start-run",
         "http://x/v1/control/start-run", "http://v1/fleet/../control/start-run", "*")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_fleet_is_served_outside(real: "Real", path: str) -> None:
    assert ask(real, post(path)) in (400, 404)
    assert ask(real, post(path).replace("POST", "GET")) in (400, 404)


def test_no_upgrade_leads_elsewhere(real: "Real") -> None:
    upgrade = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"
    upgrade += "Sec-WebSocket-Version: 13\n"
    for path in ("/v1/control/start-run", "/v1/fleet/pull-messages"):
        assert ask(real, post(path, upgrade).replace("POST", "GET")) in (404, 405)


def test_fleet_wants_a_registered_key(real: "Real") -> None:
    for path in ("activate-node", "register-node", "pull-messages", "push-object", "get-fab"):
        assert ask(real, post(f"/v1/fleet/{path}")) == 401


def test_only_this_users_processes_control_it(real: "Real") -> None:
    port = real.coordinator.config.control_port
    assert ask(real, post("/v1/control/list-nodes"), port=port) == 200
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    code = (
        "import http.client, ssl, sys\n"
        "context = ssl._create_unverified_context()\n"
        "for path, said in (('list-nodes', {}), ('list-nodes', {'X-Forwarded-For': sys.argv[2]})):\n"
        "    line = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=context)\n"
        "    line.request('POST', '/v1/control/' + path, b'', {'Content-Type': 'application/protobuf'} | said)\n"
        "    print(line.getresponse().status)\n"
    )
    with connect(real, port) as ours:  # a living connection of the coordinator's own, known to everybody
        claimed = "{}:{}".format(*ours.getsockname())
        done = real.as_user(real.third_user, code, port, claimed)
    assert done.stdout.split() == ["404", "404"], done.stdout


def lies() -> Iterator[tuple[str, bytes]]:
    """Heads of requests and the piece that follows them, again and again."""
    piece = bytes(1 << 20)
    head = "POST /v1/fleet/push-object HTTP/1.1\r\nHost: x\r\nContent-Type: application/protobuf\r\n"
    yield head + f"Content-Length: {FLOOD}\r\n\r\n", piece
    yield head + "Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n" % len(piece) + piece + b"\r\n"
    yield head, b"X-Junk: " + b"x" * 60_000 + b"\r\n"
    yield head + "X-Junk: ", piece.replace(b"\0", b"x")


@pytest.mark.parametrize(("head", "piece"), list(lies()), ids=["length", "chunks", "headers", "header"])
def test_no_request_however_long_makes_it_grow(real: "Real", head: str, piece: bytes) -> None:
    before, sent, end = most_memory(real), 0, time.monotonic() + 15
    with suppress(OSError), connect(real, real.coordinator.config.port) as line:
        line.sendall(head.encode())
        while sent < FLOOD and time.monotonic() < end:
            line.sendall(piece)
            sent += len(piece)
    assert most_memory(real) - before < GROWTH
    with control(real.coordinator) as link:
        assert len(link.nodes()) == 2
