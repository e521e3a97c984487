"""The operator's page as an ASGI application, and the process that serves it over TLS.

Guarantees: everything but the login asks for a session (server/web/guard.py); no script, nothing from other hosts; the
server names neither itself nor its version and believes no forwarded address.
"""

import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.home import ServerHome
from server.web.guard import Guard
from server.web.login import Login
from server.web.pages import Pages, missing, trouble
from server.web.render import style
from server.web.sessions import Clock, Delays, Sessions
from shared.errors import KonsilError, OperatorError


class Web(Guard):
    """The page of one coordinator; `application` is what stands behind the guard."""

    def __init__(self, home: ServerHome, clock: Clock) -> None:
        sessions = Sessions(clock)
        self.application = _application(home, sessions, Delays(clock))
        super().__init__(self.application, home, sessions)


def create_web(home: ServerHome, *, clock: Clock = time.monotonic) -> Web:
    """The page of the coordinator in `home`, an ASGI application. Serve it over TLS only: its cookies ask for that."""
    return Web(home, clock)


def _application(home: ServerHome, sessions: Sessions, delays: Delays) -> Starlette:
    pages, login = Pages(home), Login(home, sessions, delays)
    routes = [
        Route("/login", login.form, methods=["GET"]),
        Route("/login", login.enter, methods=["POST"]),
        Route("/login/style.css", _style),
        Route("/logout", login.leave, methods=["POST"]),
        Route("/", pages.runs),
        Route("/runs/{run}", pages.run),
        Route("/runs/{run}/report", pages.report),
        Route("/sites", pages.sites),
        Route("/models", pages.models),
    ]
    return Starlette(routes=routes, exception_handlers={KonsilError: trouble, 404: missing, 500: trouble})


def _style(_: Request) -> Response:
    return style()


def main(path: Path) -> None:
    """Serve the page of the coordinator in `path` until SIGTERM. Raises OperatorError where its certificate is gone."""
    home = ServerHome(path)
    config, certificate, key = home.config, home.tls / "server.pem", home.tls / "server.key"
    for file in (certificate, key):
        if not file.is_file():
            do = "Finish konsil-server init there."
            raise OperatorError(str(file), expected="the coordinator's certificate", got="no such file", do=do)
    uvicorn.run(
        create_web(home),
        host=config.web_bind,
        port=config.web_port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        log_level="warning",
        limit_concurrency=100,
        timeout_keep_alive=15,
    )
