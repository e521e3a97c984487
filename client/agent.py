"""The agent: keeps the Site, with model code, GPU and decoded images warm, behind a Unix socket.

Rules:
1. Messages come from the network side's user alone, status questions from our own user or root; the kernel says who
   asks (SO_PEERCRED). With `daemon.single_user` both are one user, and site.toml says so.
2. One message at a time, read only when the one before is answered: a flood costs one frame of memory.
3. SIGTERM lets the message at hand finish; being killed instead loses nothing (client/rounds.py, client/ledger.py).
"""

import os
import pwd
import queue
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from client import frames
from client.home import DaemonConfig, Home
from client.node_report import NodeReport
from client.site import Site
from client.status import Live, status_of
from client.status_record import Work
from shared.errors import InputError, KonsilError, PeerError
from shared.journal import now, tell
from shared.messages import Join, Step, read_request
from shared.wire import unpack

#: Seconds a caller may be silent in the middle of a frame.
PATIENCE_S = 30.0
#: Callers waiting at the socket.
BACKLOG = 16


def allowed_users(config: DaemonConfig) -> tuple[int, int]:
    """(network side, own user). Raises InputError where they are one user without site.toml's leave."""
    own = os.getuid()
    if config.single_user:
        return own, own
    if not config.node_user:
        raise InputError(
            "site.toml: daemon.node_user",
            expected="the user of the network side, another than the agent's",
            got="none",
            do="Name it, or set daemon.single_user = true to run without that protection.",
        )
    try:
        node = int(config.node_user) if config.node_user.isdigit() else pwd.getpwnam(config.node_user).pw_uid
    except KeyError:
        raise InputError("site.toml: daemon.node_user", expected="a user of this host", got=config.node_user) from None
    if node in (own, 0):
        raise InputError(
            "site.toml: daemon.node_user",
            expected="a user other than root and the agent's own",
            got=config.node_user,
            do="Make a user for it, or set daemon.single_user = true to run without that protection.",
        )
    return node, own


@dataclass
class _Call:
    """A message on its way to the Site and its answer on the way back."""

    request: bytes
    answered: threading.Event = field(default_factory=threading.Event)
    sent: threading.Event = field(default_factory=threading.Event)
    answer: bytes = b""


class Agent:
    """Serves `home` at the socket `path`; `serve` returns when `stop` is set."""

    def __init__(self, home: Home, path: Path, stop: threading.Event) -> None:
        self._home, self._path, self._stop = home, path, stop
        self._node_user, self._own_user = allowed_users(home.config.daemon)
        self._live = Live()
        self._turn: queue.Queue[_Call] = queue.Queue()
        self._one = threading.Lock()

    def serve(self) -> None:
        """Answer until stopped. The Site lives in this thread."""
        site = Site(self._home)
        with _listen(self._path) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            tell("agent ready", site=self._home.config.name, socket=str(self._path))
            while not self._stop.is_set():
                with suppress(queue.Empty):
                    self._work(site, self._turn.get(timeout=0.2))
            self._path.unlink(missing_ok=True)

    def _work(self, site: Site, call: _Call) -> None:
        self._live.busy = self._live.last = _work_of(call.request)
        call.answer = site.handle(call.request)
        self._live.busy = None
        call.answered.set()
        call.sent.wait(PATIENCE_S)

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            with suppress(OSError):  # closed while we wait: stopping
                connection, _ = listener.accept()
                threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(PATIENCE_S)
            try:
                kind, length = frames.receive_kind(connection)
                self._check_user(kind, _peer(connection))
                if kind == frames.MESSAGE:
                    self._serve_message(connection, length)
                else:
                    frames.send(connection, kind, self._answer(kind, length, connection))
            except (OSError, KonsilError) as error:
                tell("caller cut off", why=type(error).__name__)

    def _check_user(self, kind: frames.Kind, user: int) -> None:
        """Rule 1."""
        may = (self._own_user, 0) if kind == frames.STATUS else (self._node_user,)
        if user not in may:
            tell("caller refused", user=user, kind=kind.decode())
            raise PeerError("caller", expected=f"user {may[0]}", got=str(user))

    def _answer(self, kind: frames.Kind, length: int, connection: socket.socket) -> bytes:
        if kind == frames.STATUS:
            return msgspec.json.encode(status_of(self._home, self._live))
        if kind == frames.REPORT:
            self._live.heard(unpack(NodeReport, frames.receive_data(connection, length)))
            return b""
        raise PeerError("frame", expected="a report or a status question", got=kind.decode())

    def _serve_message(self, connection: socket.socket, length: int) -> None:
        with self._one:  # rule 2
            call = _Call(frames.receive_data(connection, length))
            self._turn.put(call)
            call.answered.wait()
            try:
                frames.send(connection, frames.MESSAGE, call.answer)
            finally:
                call.sent.set()


def _work_of(request: bytes) -> Work:
    try:
        body = read_request(request)
    except KonsilError:
        return Work(what="not understood", at=now())
    if isinstance(body, Step):
        return Work(what=body.plan.step, run=body.plan.run, round=body.plan.round, at=now())
    return Work(what="join", run=body.run, at=now()) if isinstance(body, Join) else Work(what="unmask", at=now())


def _listen(path: Path) -> socket.socket:
    """A socket at `path` that anyone may connect to: who they are is asked of the kernel, on each call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(BACKLOG)
    return listener


def _peer(connection: socket.socket) -> int:
    """The user at the other end (unix(7), SO_PEERCRED: pid, uid, gid)."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", data)[1])
