"""Who may call what at the SuperLink: Flower serves three APIs on one port, and checks who calls only one of them.

Fleet      hospitals; Flower itself checks their registered keys        at the public port
Runtime    the ServerApp, with a token; taking tasks needs none         on loopback, this user's processes only
Control    start and stop runs, register nodes: needs nothing           on loopback, this user's processes only

Guarantees: whoever can reach the public port can neither start code here nor register a node, and cannot make the
SuperLink hold more of one request than `LARGEST`. On loopback the kernel says whose connection it is (proc(5),
/proc/net/tcp): another user of this host is as far away as the network, whatever headers he writes.
"""

import os
from collections.abc import Callable
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FLEET = "/v1/fleet/"
#: Flower cuts messages into pieces of 5 MB.
LARGEST = 16 << 20
#: tcp_states.h, TCP_ESTABLISHED, as /proc/net/tcp writes it
ESTABLISHED = "01"
#: (address, port) of a connection's far end and near end → the user who owns the far end; None if nobody here does
Owner = Callable[[tuple[str, int], tuple[str, int]], int | None]


class Gate:
    """An ASGI app in front of Flower's: lets through what the table above allows, answers 404 to everything else."""

    def __init__(self, app: ASGIApp, *, public_port: int, owner: Owner | None = None) -> None:
        self._app, self._public, self._owner = app, public_port, owner or owner_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (asgi.readthedocs.io, HTTP)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and self._may(scope) and _length(scope) <= LARGEST:
            await self._app(scope, _Limited(receive), send)
        elif scope["type"] == "http":
            await PlainTextResponse("not found", 404)(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        if scope["server"][1] == self._public:
            return str(scope["path"]).startswith(FLEET)
        return self._owner(scope["client"], scope["server"]) in (os.getuid(), 0)


class _Limited:
    """A request's body, cut off where it grows beyond LARGEST without having said so."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._seen = receive, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        return message if self._seen <= LARGEST else {"type": "http.disconnect"}


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) <= len(str(LARGEST)) else LARGEST + 1
    return 0


def owner_of(far: tuple[str, int], near: tuple[str, int]) -> int | None:
    """The user whose process on this host holds the connection from `far` to `near`, both on IPv4 loopback.

    A connection that its owner has closed is nobody's: the kernel would show it as root's.
    """
    wanted = (_hex(far), _hex(near))
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == wanted:
            return int(fields[7]) if fields[3] == ESTABLISHED and fields[9] != "0" else None
    return None


def _hex(address: tuple[str, int]) -> str:
    """An address as /proc/net/tcp writes it: the four bytes in host order (little-endian), the port big-endian."""
    parts = bytes(int(part) for part in address[0].split("."))
    return f"{parts[::-1].hex().upper()}:{address[1]:04X}"
