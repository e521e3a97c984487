"""Login and logout.

Guarantees: a form counts only with the ticket its page was given, in a cookie and in the form alike (no other site can
read or set either); each login gets a new token; a wrong password delays the next guess of its source. A browser that
was logged in before has a delay of its own, so that nobody who guesses from the same address keeps the operator out.
"""

import hmac
import ipaddress
import secrets
from urllib.parse import parse_qs

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from server.home import ServerHome
from server.web.guard import SESSION, session_of
from server.web.password import Password, read_password
from server.web.render import page
from server.web.sessions import LONGEST_S, Delays, Sessions
from shared.errors import InputError

TICKET, BROWSER = "__Host-konsil-ticket", "__Host-konsil-browser"
#: bytes of a form; a password has at most 1024 characters, each up to 12 bytes long
_MOST_FORM = 16 << 10
_YEAR_S = 365 * 24 * 3600
#: a page of the frame that knows no session
BARE = {"path": "/logout", "csrf": "", "busy": False, "refresh": 0}


class Login:
    """The pages /login and /logout."""

    def __init__(self, home: ServerHome, sessions: Sessions, delays: Delays) -> None:
        self._home, self._sessions, self._delays = home, sessions, delays
        self._checks = anyio.CapacityLimiter(2)  # each takes 32 MiB

    async def form(self, request: Request) -> Response:
        """GET /login."""
        return RedirectResponse("/", 303) if session_of(request) else _form(200, "")

    async def enter(self, request: Request) -> Response:
        """POST /login."""
        try:
            sent = await _read_form(request)
        except InputError:
            return _form(400, "That was no login form.")
        ticket = request.cookies.get(TICKET, "")
        if not ticket or not hmac.compare_digest(ticket.encode(), sent.get("ticket", "").encode()):
            return _form(403, "The form was too old, or cookies are off. Try again.")
        password = await run_in_threadpool(read_password, self._home)
        if password is None:
            return RedirectResponse("/login", 303)
        source = _source(request, password)
        if wait := self._delays.claim(source):
            answer = _form(429, f"Too many wrong passwords. Try again in {int(wait) + 1} s.")
            answer.headers["retry-after"] = str(int(wait) + 1)
            return answer
        guess = sent.get("password", "")
        if not await anyio.to_thread.run_sync(password.matches, guess, limiter=self._checks):
            return _form(401, "That is not the password.")
        self._delays.clear(source)
        return self._welcome(request, password)

    async def leave(self, request: Request) -> Response:
        """POST /logout."""
        session = session_of(request)
        try:
            sent = await _read_form(request)
        except InputError:
            sent = {}
        if session is None or not hmac.compare_digest(session.csrf.encode(), sent.get("csrf", "").encode()):
            words = "Use the button of the page."
            return page("error.html.j2", status=403, title="Not logged out", words=words, **BARE)
        self._sessions.close(request.cookies[SESSION])
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(SESSION, secure=True, httponly=True, samesite="strict")
        return answer

    def _welcome(self, request: Request, password: Password) -> Response:
        answer = RedirectResponse("/", 303)
        self._sessions.close(request.cookies.get(SESSION, ""))
        _set(answer, SESSION, self._sessions.open(password.tag("session")), int(LONGEST_S))
        _set(answer, BROWSER, _browser(secrets.token_hex(16), password), _YEAR_S)
        answer.delete_cookie(TICKET, secure=True, httponly=True, samesite="strict")
        return answer


def _form(status: int, trouble: str) -> Response:
    ticket = secrets.token_urlsafe(32)
    answer = page("login.html.j2", status=status, trouble=trouble, ticket=ticket)
    _set(answer, TICKET, ticket, 3600)
    return answer


def _set(answer: Response, name: str, value: str, age_s: int) -> None:
    answer.set_cookie(name, value, max_age=age_s, path="/", secure=True, httponly=True, samesite="strict")


def _browser(name: str, password: Password) -> str:
    """A mark that only this coordinator can make, for a browser that knew the password."""
    return f"{name}.{password.tag('browser ' + name)}"


def _source(request: Request, password: Password) -> str:
    """Whose guess it is: a browser that was logged in before, else an address (of IPv6 the network)."""
    mark = request.cookies.get(BROWSER, "")
    name = mark.partition(".")[0]
    if hmac.compare_digest(mark.encode(), _browser(name, password).encode()):
        return f"browser {name}"
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if address.version == 6 else host


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a urlencoded form, each once. Raises InputError for anything else, however long it is."""
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _MOST_FORM:
            raise InputError("form", expected=f"at most {_MOST_FORM} bytes", got="more")
    try:
        fields = parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=8, strict_parsing=True)
    except ValueError as error:
        raise InputError("form", expected="urlencoded fields", got=str(error)) from None
    return {name: values[0] for name, values in fields.items()}
