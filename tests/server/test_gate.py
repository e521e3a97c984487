"""The gate in front of Flower's real app: by its ASGI interface, and by the kernel's word of whose connection it is."""

import asyncio
import os
import socket
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from flwr.superlink.main import create_app
from starlette.types import Message, Receive, Scope, Send

from server.gate import LARGEST, Gate, owner_of

PUBLIC, CONTROL = 9092, 9093
OWN = os.getuid()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
FORK = get_context("fork")


class Behind:
    """The app behind the gate: reads the body to its end and keeps it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        while (message := await receive())["type"] == "http.request":
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def call(
    behind: Any, path: str, *, port: int = PUBLIC, owner: int | None = OWN, headers: Any = (), pieces: Any = (b"",)
) -> int:
    """The status of one request."""
    sent: list[Message] = []
    waiting = list(pieces)

    async def receive() -> Message:
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": list(headers), "server": ("127.0.0.1", port), "client": ("127.0.0.1", 40000),
    }  # fmt: skip
    gate = Gate(behind, public_port=PUBLIC, owner=lambda *_: owner)
    asyncio.run(gate(scope, receive, send))
    return int(sent[0]["status"])


def routes() -> list[str]:
    """Every path that Flower's app serves, found by asking it."""
    return sorted({str(route.path) for route in iter_route_contexts(create_app().routes)})


ROUTES = routes()


def test_flower_serves_what_the_gate_is_about() -> None:
    assert {"/v1/fleet/pull-messages", "/v1/control/start-run", "/v1/runtime/acquire-task", "/docs"} <= set(ROUTES)


@pytest.mark.parametrize("path", ROUTES)
def test_the_public_port_serves_fleet_only(path: str) -> None:
    behind = Behind()
    fleet = path.startswith("/v1/fleet/")
    assert call(behind, path) == (200 if fleet else 404)
    assert behind.seen == ([path] if fleet else [])


TRICKS = ("//v1/control/start-run", "/v1//fleet/pull-messages", "/V1/fleet/pull-messages", "/v1/fleet", "/", "", "*",
          "/v1/control/../fleet/pull-messages", "http://x/v1/fleet/pull-messages", "/v1/control/start-run?/v1/fleet/",
          "/%76%31/fleet/x", "\\v1\\fleet\\", " /v1/fleet/x")  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_paths_that_only_look_like_fleet(path: str) -> None:
    assert call(Behind(), path) == 404


@pytest.mark.parametrize("path", ["/v1/fleet/../control/start-run", "/v1/fleet//v1/control/start-run", "/v1/fleet/%2e"])
def test_paths_that_pass_the_gate_lead_nowhere_in_flower(path: str) -> None:
    assert call(create_app(), path) == 404


@pytest.mark.parametrize("owner", [None, OWN + 1, 64001])
def test_on_loopback_another_user_is_outside(owner: int | None) -> None:
    for path in ("/v1/control/start-run", "/v1/runtime/acquire-task", "/v1/fleet/pull-messages"):
        behind = Behind()
        assert call(behind, path, port=CONTROL, owner=owner) == 404
        assert behind.seen == []


@pytest.mark.parametrize("owner", [OWN, 0])
def test_on_loopback_this_user_and_root_may(owner: int) -> None:
    assert call(Behind(), "/v1/control/start-run", port=CONTROL, owner=owner) == 200


@pytest.mark.parametrize("length", [str(LARGEST + 1), str(2**80), "-1", "1e3", "0x10", "", "nine"])
def test_a_length_too_large_or_none_is_refused(length: str) -> None:
    behind = Behind()
    assert call(behind, "/v1/fleet/x", headers=[(b"content-length", length.encode())]) == 404
    assert behind.seen == []


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"3")], [(b"transfer-encoding", b"chunked")]])
def test_a_body_that_grows_beyond_its_word_is_cut(headers: list[tuple[bytes, bytes]]) -> None:
    behind = Behind()
    pieces = [bytes(1 << 20)] * 40
    call(behind, "/v1/fleet/x", headers=headers, pieces=pieces)
    assert len(behind.body) == LARGEST
    call(whole := Behind(), "/v1/fleet/x", headers=headers, pieces=pieces[:16])
    assert len(whole.body) == LARGEST


def test_a_websocket_gets_nothing() -> None:
    async def never(*_: object) -> None:
        pytest.fail("asked")

    asyncio.run(Gate(never, public_port=PUBLIC)({"type": "websocket"}, never, never))  # type: ignore[arg-type]


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection over loopback: theirs and ours."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        ours, _ = server.accept()
        with ours:
            yield theirs, ours


def test_the_kernel_knows_the_owner(line: tuple[socket.socket, socket.socket]) -> None:
    _, ours = line
    assert owner_of(ours.getpeername(), ours.getsockname()) == OWN
    assert owner_of(("127.0.0.1", 1), ours.getsockname()) is None


def test_a_connection_its_owner_left_is_nobodys(line: tuple[socket.socket, socket.socket]) -> None:
    """The kernel shows it as root's: a request sent and left at once would pass for ours."""
    theirs, ours = line
    near, far = ours.getsockname(), ours.getpeername()
    theirs.close()
    lines = [fields for text in Path("/proc/net/tcp").read_text().splitlines() if (fields := text.split())]
    left = [
        fields for fields in lines if fields[1].endswith(f":{far[1]:04X}") and fields[2].endswith(f":{near[1]:04X}")
    ]
    assert [fields[7] for fields in left] == ["0"]
    assert owner_of(far, near) is None


@needs_root
def test_another_users_connection_is_known_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dial() -> None:
            os.setuid(64003)
            with socket.create_connection(server.getsockname()) as connection:
                connection.recv(1)

        process = FORK.Process(target=dial)
        process.start()
        ours, _ = server.accept()
        with ours:
            assert owner_of(ours.getpeername(), ours.getsockname()) == 64003
        process.join(20)


@pytest.mark.parametrize("length", [b"9" * 5000, b"\xb2", b"-1", str(LARGEST + 1).encode()])
def test_no_content_length_is_too_long_to_refuse(length: bytes) -> None:
    behind = Behind()
    assert call(behind, "/v1/fleet/pull", headers=[(b"content-length", length)]) == 404
    assert not behind.seen
