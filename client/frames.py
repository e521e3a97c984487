"""What crosses the socket between the hospital's two sides: one question and one answer per connection.

A frame is one byte of kind, eight of length (big-endian), then the data. Guarantees: nothing longer than its kind's
limit is read or sent; where the connection has a timeout, a writer that needs longer for a megabyte is cut off;
nothing in a frame names code.

MESSAGE   a request from outside → the Site's reply        only from the network side's user
REPORT    how the network side fares → empty               only from the network side's user
STATUS    empty → what the agent knows of itself, JSON     only from the agent's own user, or root
"""

import socket
import time
from pathlib import Path
from typing import Literal

from shared.errors import PeerError, SiteError

Kind = Literal[b"m", b"r", b"s"]
MESSAGE: Kind = b"m"
REPORT: Kind = b"r"
STATUS: Kind = b"s"
#: Bytes of the longest frame of each kind.
LIMITS: dict[bytes, int] = {MESSAGE: 1 << 30, REPORT: 1 << 14, STATUS: 1 << 16}
_HEAD = 9
_CHUNK = 1 << 20


def send(connection: socket.socket, kind: Kind, data: bytes) -> None:
    """Write one frame."""
    connection.sendall(kind + len(data).to_bytes(8, "big"))
    if data:  # an empty write to someone who has read the head and left is an error
        connection.sendall(data)


def receive_kind(connection: socket.socket) -> tuple[Kind, int]:
    """The kind of the frame that comes, and its length. Raises PeerError for an unknown or too long one."""
    head = bytes(_read(connection, _HEAD))
    length = int.from_bytes(head[1:], "big")
    for kind in (MESSAGE, REPORT, STATUS):
        if head[:1] == kind and length <= LIMITS[kind]:
            return kind, length
    raise PeerError("frame", expected="a known kind and length", got=f"kind {head[:1]!r}, {length} bytes")


def receive_data(connection: socket.socket, length: int) -> bytes:
    """The `length` bytes that follow."""
    return bytes(_read(connection, length))


def ask(path: Path, kind: Kind, data: bytes, *, timeout_s: float | None) -> bytes:
    """The answer of whoever listens at `path`.

    Raises SiteError if nobody does, or it goes away before answering; PeerError for data beyond the kind's limit.
    """
    if len(data) > LIMITS[kind]:
        raise PeerError("frame", expected=f"at most {LIMITS[kind]} bytes", got=f"{len(data)}")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            send(connection, kind, data)
            answered, length = receive_kind(connection)
            if answered != kind:
                raise PeerError("frame", expected=f"an answer of kind {kind!r}", got=f"{answered!r}")
            return receive_data(connection, length)
    except (OSError, PeerError) as error:
        raise SiteError(
            f"agent at {path}",
            expected="an answer",
            got=getattr(error, "strerror", None) or str(error) or type(error).__name__,
            do="Start it: konsil-client up (or the konsil-agent service).",
        ) from None


def _read(connection: socket.socket, length: int) -> bytearray:
    data, done, patience = bytearray(), 0, connection.gettimeout()
    while done < length:
        end, until = min(done + _CHUNK, length), time.monotonic() + (patience or 0.0)
        if end > len(data):  # what was announced is believed as it comes: a length alone costs no memory
            data.extend(bytes(min(length, max(end, 2 * done)) - len(data)))
        with memoryview(data) as view:
            while done < end:
                count = connection.recv_into(view[done:end])
                if not count:
                    raise PeerError("frame", expected=f"{length} bytes", got=f"{done}, then the end")
                done += count
                if patience is not None and time.monotonic() > until:
                    raise PeerError("frame", expected=f"a megabyte within {patience:g} s", got="less")
    return data
