"""Run the installed relay for every message the SuperNode has, in one process that lives on.

Flower's own way (`flwr-clientapp`) starts a process per message, installs the bundle that came with the run and imports
its code. Flower also lets an outside process do that work (`--isolation process`); this is that process, and it does
less: the bundle is neither installed nor opened. Nothing that arrives from outside is executed, and nothing is imported
per message.

Guarantees: tasks are taken with the shared secret that only this user can read; a failing message is answered as failed
and stops nothing. A message whose bytes the SuperNode lost on the way is waited for beside the others, until Flower
gives it up: the SuperNode has one message in work at a time, the agent answers one at a time.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx
from flwr.app import Context, Message
from flwr.app.error import Error
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from shared.journal import tell

#: Seconds between looks for a message, on loopback.
POLL_S = 0.1
#: Messages at hand at once: one that is lost in the SuperNode, or waits for the agent, keeps no other waiting.
MOST_TASKS = 16
_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})


@dataclass(frozen=True)
class Runtime:
    """Where the SuperNode's Runtime API listens on this host, and the secret it shares with us."""

    address: str
    secret: bytes

    def taker(self) -> RuntimeHttpClient:
        """A client that may take tasks."""
        return self._client(SuperExecAuthHttpInterceptor(master_secret=self.secret, protected_methods=_ACQUIRE))

    def worker(self, token: str) -> RuntimeHttpClient:
        """A client that may do the task of `token`."""
        return self._client(RuntimeTokenHttpInterceptor(token))

    def _client(self, authority: ProtobufClientInterceptor) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self.address,
            insecure=True,  # loopback
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), authority],
        )


def execute(runtime: Runtime, app: ClientApp, stop: threading.Event, *, done: Callable[[], None]) -> None:
    """Answer messages by `app` until `stop` is set; `done` is called after each."""
    taker, places, away = runtime.taker(), threading.Semaphore(MOST_TASKS), False
    request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
    while not stop.is_set():
        try:
            found = taker.AcquireTask(request)
        except (httpx.HTTPError, OSError, ValueError) as error:  # the SuperNode starts, or died: its supervisor knows
            if not away:
                tell("supernode not answering", why=type(error).__name__)
            away = not stop.wait(1.0)
            continue
        away = False
        if not found.token:
            stop.wait(POLL_S)
            continue
        places.acquire()
        threading.Thread(target=_do, args=(runtime, found.token, app, done, places), daemon=True).start()


def _do(runtime: Runtime, token: str, app: ClientApp, done: Callable[[], None], places: threading.Semaphore) -> None:
    """One task, from its message to its reply."""
    worker = runtime.worker(token)
    heartbeat = HeartbeatSender(lambda: _beat(worker))
    heartbeat.start()
    try:
        message, context, _, _ = pull_task_input(worker)  # the bundle stays in its box
        push_message(worker, _reply(app, message, context), context)
        push_task_output(worker, context, SubStatus.COMPLETED, "")
        done()
    except Exception as error:  # noqa: BLE001  whatever one message brought: the next one has its turn
        tell("message lost", why=type(error).__name__)
    finally:
        heartbeat.stop()
        worker.close()
        places.release()


def _reply(app: ClientApp, message: Message, context: Context) -> Message:
    try:
        return app(message=message, context=context)
    except Exception as error:  # noqa: BLE001  a message of a type, or with a content, that the relay does not know
        tell("not relayed", why=type(error).__name__)
        return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason="not relayed"), reply_to=message)


def _beat(worker: RuntimeHttpClient) -> bool:
    """Say that we are at work. A SuperNode that does not listen, or has given the task up, will refuse its result."""
    with suppress(httpx.HTTPError, ValueError):
        worker.SendTaskHeartbeat(SendTaskHeartbeatRequest())
    return True
