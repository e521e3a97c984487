"""The agent behind a real socket, with a Site that answers at once, or waits to be told."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest

import client.agent
from client import frames
from client.agent import MOST_CALLERS, Agent, allowed_users
from client.home import DaemonConfig, Home, make_keys
from client.node_report import NodeReport
from client.status_record import Status
from shared.errors import InputError, SiteError
from shared.wire import pack

OTHER = 64002
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
FORK = get_context("fork")


class StubSite:
    """Answers with what it was asked; b"slow" only once it may."""

    may, began = threading.Event(), threading.Event()
    asked: list[bytes]

    def __init__(self, _: Home) -> None:
        StubSite.asked = []

    def handle(self, request: bytes) -> bytes:
        self.asked.append(request)
        if request == b"slow":
            self.began.set()
            self.may.wait(20)
        return b"answer to " + request


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.agent, "Site", StubSite)
    monkeypatch.setattr(client.agent, "PATIENCE_S", 0.05)
    StubSite.may.clear()
    StubSite.began.clear()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    path = tmp_path / "home"
    make_keys(path)
    (path / "site.toml").write_text('name = "alder"\narchive = "."\nlabels = "l.csv"\n[daemon]\nsingle_user = true\n')
    (path / "policy.toml").write_text("")
    return Home(path)


@contextmanager
def serving(home: Home, path: Path) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=Agent(home, path, stop).serve)
    thread.start()
    wait_for(lambda: listens(path))
    try:
        yield stop
    finally:
        stop.set()
        StubSite.may.set()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def at(home: Home, tmp_path: Path) -> Iterator[Path]:
    with serving(home, tmp_path / "s"):
        yield tmp_path / "s"


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def ask(path: Path, data: bytes) -> bytes:
    return frames.ask(path, frames.MESSAGE, data, timeout_s=20.0)


def status(path: Path) -> Status:
    return msgspec.json.decode(frames.ask(path, frames.STATUS, b"", timeout_s=20.0), type=Status)


def connect(path: Path, data: bytes = b"") -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20.0)
    connection.connect(str(path))
    with suppress(BrokenPipeError):  # turned away at once
        connection.sendall(data)
    return connection


def cut_off(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def frame(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(8, "big") + data


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_messages_reports_and_status(at: Path) -> None:
    assert ask(at, b"one") == b"answer to one"
    assert not status(at).taking_part
    frames.ask(at, frames.REPORT, pack(NodeReport(coordinator="c:1", registered=True)), timeout_s=20.0)
    found = status(at)
    assert (found.taking_part, found.last_message.what) == (True, "not understood")


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b", "a\nb", "x" * 301])
def test_a_report_steers_no_terminal(at: Path, text: str) -> None:
    with pytest.raises(SiteError):
        frames.ask(at, frames.REPORT, pack(NodeReport(coordinator="c:1", trouble=text)), timeout_s=20.0)
    assert status(at).node is None


@pytest.mark.parametrize("data", [b"", b"m", b"z" + bytes(8), b"m" + b"\xff" * 8, frame(b"r", b"junk")])
def test_junk_is_cut_off_and_stops_nothing(at: Path, data: bytes) -> None:
    with connect(at, data) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert cut_off(connection)
    assert ask(at, b"one") == b"answer to one"


def test_half_frames_give_way_when_their_time_is_up(at: Path) -> None:
    with ExitStack() as stack:
        frame = b"m" + (100).to_bytes(8, "big") + b"half"
        half = [stack.enter_context(connect(at, frame)) for _ in range(2 * MOST_CALLERS)]
        assert all(map(cut_off, half))
    assert ask(at, b"one") == b"answer to one"


def test_more_callers_than_places_are_turned_away(at: Path) -> None:
    slow = in_background(lambda: ask(at, b"slow"))
    assert StubSite.began.wait(20)
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(at, frame(b"m", b"next"))) for _ in range(3 * MOST_CALLERS)]
        assert all(map(cut_off, waiting[MOST_CALLERS:]))
    StubSite.may.set()
    slow.join()

    def served() -> bool:
        try:  # until the agent has looked, those who left still hold their places
            return ask(at, b"one") == b"answer to one"
        except SiteError:
            return False

    wait_for(served)


def test_one_message_at_a_time_and_none_for_callers_that_left(at: Path) -> None:
    slow = in_background(lambda: ask(at, b"slow"))
    assert StubSite.began.wait(20)
    gone = connect(at, frame(b"m", b"gone"))
    patient = in_background(lambda: ask(at, b"patient"))
    gone.close()
    assert status(at).busy is not None
    time.sleep(client.agent.LOOK_S + 0.2)  # the agent looks that often whether callers wait
    assert StubSite.asked == [b"slow"]
    StubSite.may.set()
    slow.join()
    patient.join()
    assert StubSite.asked == [b"slow", b"patient"]
    assert status(at).busy is None


def test_a_request_is_not_built_to_name_it(at: Path) -> None:
    """What a message calls itself is read within bounds; the rest is the Site's to judge."""
    for body in ({"type": "x" * 129}, {"type": "join", "run": "r" * 129}, {"type": 3}, {}):
        ask(at, msgspec.msgpack.encode({"body": body, "version": 1}))
        assert status(at).last_message.what == "not understood"
    plan = {"run": "r", "round": 3, "step": "train", "junk": [[[]]] * 1000}
    ask(at, msgspec.msgpack.encode({"body": {"type": "step", "plan": plan, "payload": b"x"}, "version": 1}))
    found = status(at).last_message
    assert (found.what, found.run, found.round) == ("train", "r", 3)


def test_a_stopped_agent_finishes_its_message_and_leaves_no_socket(home: Home, tmp_path: Path) -> None:
    answers: list[bytes] = []
    with serving(home, tmp_path / "s") as stop:
        caller = in_background(lambda: answers.append(ask(tmp_path / "s", b"slow")))
        assert StubSite.began.wait(20)
        stop.set()
        StubSite.may.set()
        caller.join()
    assert answers == [b"answer to slow"]
    assert not (tmp_path / "s").exists()


def test_a_second_agent_refuses_and_the_first_goes_on(home: Home, at: Path) -> None:
    with pytest.raises(SiteError, match="expected no other agent"):
        Agent(home, at, threading.Event()).serve()
    assert ask(at, b"one") == b"answer to one"


def test_the_socket_of_a_killed_agent_is_taken_over(home: Home, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with serving(home, tmp_path / "s"):
        assert ask(tmp_path / "s", b"one") == b"answer to one"


def test_a_stopping_agent_leaves_anothers_socket(home: Home, tmp_path: Path) -> None:
    with serving(home, tmp_path / "s"):
        (tmp_path / "s").unlink()
        (tmp_path / "s").write_text("another's")
    assert (tmp_path / "s").read_text() == "another's"


def test_a_place_that_cannot_be_listened_at(home: Home, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(InputError, match="a place we may listen at"):
        Agent(home, tmp_path / "s", threading.Event()).serve()


def as_user(user: int, work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a process of `user`."""

    def become() -> None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os._exit(0 if work() else 1)

    process = FORK.Process(target=become)
    process.start()
    process.join(20)
    return process.exitcode == 0


def refused(at: Path, data: bytes) -> bool:
    with connect(at, data) as connection:
        return cut_off(connection)


@needs_root
def test_the_kernel_says_who_calls(home: Home, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o711)
    text = (home.path / "site.toml").read_text().replace("single_user = true", f'node_user = "{OTHER}"')
    (home.path / "site.toml").write_text(text)
    at = tmp_path / "s"
    with serving(home, at):
        assert as_user(OTHER, lambda: ask(at, b"one") == b"answer to one")
        assert as_user(OTHER, lambda: refused(at, frame(b"s", b"")))
        for kind in (b"m", b"r", b"s"):
            assert as_user(OTHER + 1, lambda kind=kind: refused(at, frame(kind, b"")))  # type: ignore[misc]
        assert refused(at, frame(b"m", b"two"))  # our own user is not the network side
        assert status(at).site == "alder"
    assert StubSite.asked == [b"one"]


OWN = str(os.getuid())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (DaemonConfig(), "got none"),
        (DaemonConfig(node_user="no-such-user"), "expected a user of this host"),
        (DaemonConfig(node_user="²"), "expected a user of this host"),
        (DaemonConfig(node_user="root"), "other than root"),
        (DaemonConfig(node_user="0"), "other than root"),
        (DaemonConfig(node_user=OWN), "other than root and the agent's own"),
    ],
)
def test_one_user_for_both_sides_only_by_the_sites_leave(config: DaemonConfig, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        allowed_users(config)


def test_who_may_call() -> None:
    assert allowed_users(DaemonConfig(single_user=True)) == (os.getuid(), os.getuid())
    assert allowed_users(DaemonConfig(node_user="64002")) == (64002, os.getuid())


def test_as_a_process_it_says_so_and_exits_2(home: Home, tmp_path: Path) -> None:
    (home.path / "site.toml").write_text(
        (home.path / "site.toml").read_text().replace("single_user = true", f'node_user = "{OWN}"')
    )
    command = [sys.executable, "-P", "-m", "client.agent_main", str(home.path), str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("konsil-client agent: site.toml: daemon.node_user: expected a user other than root")
    assert not (tmp_path / "s").exists()
