"""What stands before every page: no session, no page; and the headers that every answer carries.

Guarantees: a path is public only if `PUBLIC` names it; before a password is set nothing is shown but how to set one; an
answer may choose its own content policy, every other header is ours. It wraps the whole application, its error pages
too.
"""

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.home import ServerHome
from server.web.password import Password, read_password
from server.web.render import page
from server.web.sessions import Session, Sessions
from shared.errors import KonsilError

SESSION = "__Host-konsil"
#: A request that the page made by itself says so: it does not keep a session open.
AUTO = "auto"
PUBLIC = frozenset({"/login", "/login/style.css"})
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """`app` behind the login."""

    def __init__(self, app: ASGIApp, home: ServerHome, sessions: Sessions) -> None:
        self._app, self._home, self._sessions = app, home, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":  # a socket is asked for by nobody; there is nothing to start or stop
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("content-security-policy", POLICY)
            await send(message)

        response = self._refuse(scope)
        await (response or self._app)(scope, receive, send_with_headers)

    def _refuse(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass; None for one that may, its session then in the scope."""
        public = scope["path"] in PUBLIC
        try:
            password = read_password(self._home)
        except KonsilError:
            return page("setup.html.j2", status=503, damaged=True)
        if password is None and scope["path"] != "/login/style.css":
            return page("setup.html.j2", status=503, damaged=False)
        request = Request(scope)
        session = self._session(request, password)
        scope["konsil"] = session
        if public or session is not None:
            return None
        if request.method in ("GET", "HEAD"):
            return RedirectResponse("/login", 303)
        return PlainTextResponse("Log in first.\n", 403)

    def _session(self, request: Request, password: Password | None) -> Session | None:
        token = request.cookies.get(SESSION)
        if token is None or password is None:
            return None
        return self._sessions.find(token, password.tag("session"), by_hand=AUTO not in request.query_params)


def session_of(request: Request) -> Session | None:
    """Who asks."""
    found: Session | None = request.scope["konsil"]
    return found
