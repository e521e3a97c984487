"""HTTP: the gate before Flower's APIs, and the operator's page. A request is read as uvicorn's h11 reads it."""

import asyncio
import weakref
from pathlib import Path
from urllib.parse import unquote

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.federation import create
from server.gate import Gate
from server.history import History
from server.home import ServerHome
from server.web.app import create_web
from server.web.guard import SESSION
from server.web.password import read_password, set_password
from shared.errors import PeerError
from tests.fuzz.engine import Decoder, Target
from tests.fuzz.samples import STUDY, counted_randomness

_WORDS = (
    b"Content-Length: " + b"9" * 5000 + b"\r\n", b"Content-Length: 99999999999\r\n", b"Content-Length: \xb2\r\n",
    b"Cookie: ", b"Transfer-Encoding: chunked\r\n", b"%ED%A0%80", b"%00", b"?pause", b"&auto", b"..%2f", b"/runs/",
    b"/login", b"HEAD", b"X-Forwarded-For: 127.0.0.1\r\n", b"Host: \r\n", b"HTTP/1.0", b"__Host-konsil-ticket=a; ",
    b"ticket=a&password=b",
)  # fmt: skip
PASSWORD = "correct horse battery"


def _parsed(data: bytes) -> tuple[Scope, bytes]:
    """The request in `data` as uvicorn gives it to an application. Raises PeerError where h11 refuses it."""
    connection, body = h11.Connection(h11.SERVER), b""
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            raise PeerError("request", expected="one", got="none")
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
    except (h11.RemoteProtocolError, ValueError) as error:  # uvicorn answers 400
        raise PeerError("request", got=str(error)) from None
    path, _, query = request.target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": request.http_version.decode(),
        "method": request.method.decode(),
        "scheme": "https",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 9092),
    }
    return scope, body


class _Caller:
    """Hands one request after the other to an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._loop = app, asyncio.new_event_loop()
        weakref.finalize(self, self._loop.close)

    def __call__(self, data: bytes) -> None:
        """One request, to its answer."""
        self.status(*_parsed(data))

    def status(self, scope: Scope, body: bytes) -> list[Message]:
        """What was answered."""
        sent: list[Message] = []
        pieces = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            return next(pieces, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            sent.append(message)

        self._loop.run_until_complete(asyncio.wait_for(self._app(scope, receive, send), 20.0))
        return sent


def _gate(_: Path) -> Decoder:
    async def flower(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode("utf-8", "replace")})

    head = b"POST /v1/fleet/pull HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    return Decoder(_Caller(Gate(flower, public_port=9092)), (head,), "text", _WORDS)


def _web(folder: Path) -> Decoder:
    """The page, by strangers and by somebody who is logged in."""
    create(folder).enroll({})
    home = ServerHome(folder)
    History(home.history).enqueue("chest-01", STUDY)
    set_password(home, PASSWORD, cost=2)
    web = create_web(home)
    caller = _Caller(web)
    password = read_password(home)
    assert password is not None
    with counted_randomness():
        token = web._sessions.open(password.tag("session"))
    cookie = f"Cookie: {SESSION}={token}; __Host-konsil-ticket=a\r\n".encode()
    form = b"ticket=a&password=wrong+guess&csrf=a"
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
    post = b"POST %b HTTP/1.1\r\nHost: a\r\n%b" + kind + b"Content-Length: %d\r\n\r\n%b"
    paths = (b"/", b"/runs/chest-01", b"/runs/chest-01/report", b"/sites", b"/models?pause", b"/login", b"/nowhere")
    seeds = [b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path, cookie) for path in paths]
    seeds += [post % (path, cookie, len(form), form) for path in (b"/login", b"/logout")]
    return Decoder(caller, seeds, "text", _WORDS, extra_mb=128)


DOOR_TARGETS = (
    Target("gate", _gate, 2, ("server/gate.py",)),
    Target(
        "operator's page",
        _web,
        0.15,
        ("server/web/app.py", "server/web/login.py", "server/web/guard.py", "server/web/pages.py"),
    ),
)
