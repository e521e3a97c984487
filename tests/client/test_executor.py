"""The executor with Flower's calls replaced: whatever one message brings, the next one has its turn."""

import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity

import client.executor
from client.app import make_relay
from client.executor import Runtime, execute
from shared.errors import SiteError
from shared.relay import open_message, wrap

CONTEXT = Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who Flower believes to be at work in this process; no message is made without."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class FakeRuntime:
    """A SuperNode with `tasks`: each gives its message, or raises; `pushed` are the replies."""

    def __init__(self, tasks: list[Callable[[], Message]]) -> None:
        self.tasks, self.pushed, self.closed = tasks, list[Message](), 0
        self.beat: Callable[[], Any] = lambda: None
        self.over = threading.Event()

    def taker(self) -> Any:
        numbers = iter(range(len(self.tasks)))
        return SimpleNamespace(AcquireTask=lambda _: SimpleNamespace(token=str(next(numbers, ""))))

    def worker(self, token: str) -> Any:
        return SimpleNamespace(task=self.tasks[int(token)], SendTaskHeartbeat=lambda _: self.beat(), close=self._close)

    def _close(self) -> None:
        self.closed += 1
        if self.closed == len(self.tasks):
            self.over.set()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRuntime]:
    def run(*tasks: Callable[[], Message], app: ClientApp, beat: Callable[[], Any] = lambda: None) -> FakeRuntime:
        runtime = FakeRuntime(list(tasks))
        runtime.beat = beat
        monkeypatch.setattr(client.executor, "POLL_S", 0.01)
        monkeypatch.setattr(client.executor, "pull_task_input", lambda worker: (worker.task(), CONTEXT, None, None))
        monkeypatch.setattr(client.executor, "push_message", lambda _, reply, __: runtime.pushed.append(reply))
        monkeypatch.setattr(client.executor, "push_task_output", lambda *_: None)
        execute(runtime, app, runtime.over, done=lambda: None)  # type: ignore[arg-type]
        runtime.pushed.sort(key=lambda reply: not reply.has_error())
        return runtime

    return run


def message(kind: str = MessageType.TRAIN, data: bytes = b"data") -> Callable[[], Message]:
    return lambda: Message(content=wrap(data), dst_node_id=2, message_type=kind, ttl=60.0)


def fails(error: BaseException) -> Callable[[], Message]:
    def pull() -> Message:
        raise error

    return pull


def echo(data: bytes, _: Context, __: float) -> bytes:
    if data == b"bad":
        raise SiteError("agent", got="none")
    return b"re " + data


@pytest.mark.parametrize("bad", [message("query"), message("evaluate"), message("train.steal"), message(data=b"bad")])
def test_what_is_not_relayed_is_answered_as_failed(run: Callable[..., FakeRuntime], bad: Callable[[], Message]) -> None:
    failed, good = run(bad, message(), app=make_relay(echo)).pushed
    assert (failed.error.code, failed.error.reason) == (2, "not relayed")
    assert open_message(good) == b"re data"


@pytest.mark.parametrize(
    "error",
    [ValueError("proto"), TypeError(), RuntimeError("none"), KeyError(1), httpx.ReadError("gone"), MemoryError()],
)
def test_a_lost_message_costs_no_other(run: Callable[..., FakeRuntime], error: Exception) -> None:
    (reply,) = run(fails(error), message(), app=make_relay(echo)).pushed
    assert open_message(reply) == b"re data"


def test_a_heartbeat_in_vain_stops_nothing(run: Callable[..., FakeRuntime]) -> None:
    """Flower's own sender interrupts its process then."""

    def refuse() -> None:
        raise httpx.HTTPStatusError("401", request=httpx.Request("POST", "http://x"), response=httpx.Response(401))

    for beat in (refuse, lambda: SimpleNamespace(success=False)):
        (reply,) = run(message(), app=make_relay(echo), beat=beat).pushed
        assert open_message(reply) == b"re data"


def test_a_message_that_is_lost_inside_the_supernode_holds_nobody_up(run: Callable[..., FakeRuntime]) -> None:
    found = threading.Event()

    def lost() -> Message:
        assert found.wait(20)
        raise RuntimeError

    def last(data: bytes, context: Context, until: float) -> bytes:
        found.set()
        return echo(data, context, until)

    (reply,) = run(lost, message(), app=make_relay(last)).pushed
    assert open_message(reply) == b"re data"


def test_no_more_messages_are_taken_than_there_are_places(
    run: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.executor, "MOST_TASKS", 2)
    lock, at_hand, most = threading.Lock(), 0, 0

    def work(data: bytes, _: Context, __: float) -> bytes:
        nonlocal at_hand, most
        with lock:
            at_hand += 1
            most = max(most, at_hand)
        threading.Event().wait(0.02)
        with lock:
            at_hand -= 1
        return data

    assert len(run(*[message()] * 6, app=make_relay(work)).pushed) == 6
    assert most == 2


class Refusing(BaseHTTPRequestHandler):
    """A SuperNode that was restarted: it knows neither secret nor token."""

    status = 401

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def supernode() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_supernode_that_refuses_is_an_error_and_no_signal(
    supernode: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "status", status)
    signals: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: signals.append(number))
    try:
        runtime = Runtime(supernode, b"s" * 32)
        for client_, call in (
            (runtime.taker(), AcquireTaskRequest()),
            (runtime.worker("t"), SendTaskHeartbeatRequest()),
        ):
            with client_, pytest.raises(httpx.HTTPStatusError):
                getattr(client_, type(call).__name__.removesuffix("Request"))(call)
    except RunNotRunningException:  # a BaseException: it would end the thread
        pytest.fail("not an error of HTTP")
    finally:
        signal.signal(signal.SIGINT, before)
    assert signals == []
