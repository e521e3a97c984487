"""The agent: keeps the Site, with model code, GPU and decoded images warm, behind a Unix socket.

Rules:
1. Messages come from the network side's user alone, status questions from our own user or root; the kernel says who
   asks (SO_PEERCRED). With `daemon.single_user` both are one user, and site.toml says so. Anyone else goes unread.
2. One message at a time, read only when the one before is answered; so many callers of one user at a time, no more: a
   flood costs one frame of memory and keeps nobody else out.
3. SIGTERM lets the message at hand finish; being killed instead loses nothing (client/rounds.py, client/ledger).
4. One agent at a socket: a second one refuses to start.
"""

import ctypes
import os
import pwd
import queue
import select
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from client import frames
from client.home import DaemonConfig, Home
from client.node_report import NodeReport
from client.site import Site
from client.status import Live, status_of
from client.status_record import Work
from shared.errors import InputError, KonsilError, PeerError, SiteError
from shared.journal import now, tell
from shared.wire import Record, unpack

#: What a request calls itself, its run and its step.
Name = Annotated[str, Meta(max_length=128)]
#: Seconds a caller may be silent in the middle of a frame.
PATIENCE_S = 30.0
#: Callers waiting at the socket.
BACKLOG = 64
#: Callers of one user served at once: the executor's messages (client/executor.py, MOST_TASKS), its report, and some.
MOST_CALLERS = 20
#: Seconds between looks whether a caller that waits for its turn is still there.
LOOK_S = 1.0


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
        node = int(config.node_user) if config.node_user.isdecimal() else pwd.getpwnam(config.node_user).pw_uid
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
        self._slots = {user: threading.Semaphore(MOST_CALLERS) for user in (self._node_user, self._own_user, 0)}

    def serve(self) -> None:
        """Answer until stopped. The Site lives in this thread."""
        site = Site(self._home)
        with _listen(self._path) as listener:
            ours = _made(self._path)  # before anybody can be answered, and so believe that it is there
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            tell("agent ready", site=self._home.config.name, socket=str(self._path))
            while not self._stop.is_set():
                with suppress(queue.Empty):
                    self._work(site, self._turn.get(timeout=0.2))
            with suppress(OSError):
                if _made(self._path) == ours:  # not another's, who took our place
                    self._path.unlink()

    def _work(self, site: Site, call: _Call) -> None:
        self._live.busy = self._live.last = _work_of(call.request)
        call.answer = site.handle(call.request)
        self._live.busy = None
        call.answered.set()
        call.sent.wait(PATIENCE_S)
        _give_back()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = listener.accept()
                self._admit(connection, _peer(connection))
            except OSError:  # closed while we wait: stopping; or the host is out of handles for the moment
                self._stop.wait(0.1)

    def _admit(self, connection: socket.socket, user: int) -> None:
        """Rule 2: serve the caller in a thread of its own if its user has a place left; a user unknown has none."""
        slot = self._slots.get(user)
        if slot is None:
            tell("caller refused", user=user)
        elif not slot.acquire(blocking=False):
            tell("too many callers", user=user)
        else:
            threading.Thread(target=self._serve_one, args=(connection, user, slot), daemon=True).start()
            return
        connection.close()

    def _serve_one(self, connection: socket.socket, user: int, slot: threading.Semaphore) -> None:
        with connection:
            connection.settimeout(PATIENCE_S)
            try:
                kind, length = frames.receive_kind(connection)
                self._check_user(kind, user)
                if kind == frames.MESSAGE:
                    self._serve_message(connection, length)
                else:
                    frames.send(connection, kind, self._answer(kind, length, connection))
            except (OSError, KonsilError) as error:
                tell("caller cut off", why=type(error).__name__)
            finally:
                slot.release()

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
        while not self._one.acquire(timeout=LOOK_S):  # rule 2
            if _gone(connection):
                raise PeerError("caller", expected="to wait for its answer", got="one that is gone")
        try:
            call = _Call(frames.receive_data(connection, length))
            self._turn.put(call)
            call.answered.wait()
            try:
                frames.send(connection, frames.MESSAGE, call.answer)
            finally:
                call.sent.set()
        finally:
            self._one.release()


def _give_back() -> None:
    """Return freed memory to the system: glibc keeps the gaps that tensors of changing size leave, and they add up over
    hundreds of rounds (benchmarks/endurance.py)."""
    with suppress(OSError, AttributeError):  # another C library: it has its own ways
        ctypes.CDLL(None).malloc_trim(0)


def _work_of(request: bytes) -> Work:
    """What `request` says of itself; nothing else of it is built: it is judged later, by what its study allows."""
    try:
        body = unpack(_Request, request).body
    except KonsilError:
        return Work(what="not understood", at=now())
    if body.type == "step":
        return Work(what=body.plan.step, run=body.plan.run, round=body.plan.round, at=now())
    return Work(what=body.type, run=body.run, at=now())


class _Plan(Record, frozen=True, forbid_unknown_fields=False):
    step: Name = "step"
    run: Name = ""
    round: int = 0


class _Body(Record, frozen=True, forbid_unknown_fields=False):
    type: Name
    run: Name = ""
    plan: _Plan = _Plan()


class _Request(Record, frozen=True, forbid_unknown_fields=False):
    body: _Body


def _made(path: Path) -> tuple[int, int, int]:
    """What tells the file at `path` from a later one: an inode alone may be given out again."""
    status = path.stat()
    return status.st_mode, status.st_ino, status.st_mtime_ns


def _listen(path: Path) -> socket.socket:
    """A socket at `path` that anyone may connect to: who they are is asked of the kernel, on each call."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_free(path)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(BACKLOG)
    except OSError as error:
        do = "Use another --socket, or correct the permissions."
        raise InputError(f"socket {path}", expected="a place we may listen at", got=str(error), do=do) from None
    return listener


def _check_free(path: Path) -> None:
    """Rule 4. What an agent left that was killed is free: nobody answers there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise SiteError(
                f"socket {path}", expected="no other agent", got="one that answers", do="Stop it, or let it finish."
            )


def _gone(connection: socket.socket) -> bool:
    """Whether the other end has closed."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _peer(connection: socket.socket) -> int:
    """The user at the other end (unix(7), SO_PEERCRED: pid, uid, gid)."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    return int(struct.unpack("iII", data)[1])
