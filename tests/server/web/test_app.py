import asyncio
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from server.home import ServerHome
from server.web.app import Web, create_web
from server.web.guard import PUBLIC
from server.web.password import password_file
from shared.files import write_atomically

Visit = Callable[[Web], httpx.Client]
PAGES = ("/", "/runs/chest-1", "/runs/chest-2", "/runs/chest-3", "/sites", "/models", "/nowhere")
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


class Seen(HTMLParser):
    """Elements with their attributes, and the text, of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


class TestEveryAnswer:
    @pytest.mark.parametrize("path", [*PAGES, "/login", "/login/style.css", "/runs/chest-1/report", "/runs/none"])
    def test_carries_the_headers(self, operator: httpx.Client, path: str) -> None:
        headers = operator.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-frame-options"] == "DENY"
        if path != "/runs/chest-1/report":
            assert headers["content-security-policy"] == POLICY

    @pytest.mark.parametrize("path", [*PAGES, "/login"])
    def test_has_no_script_no_style_and_nothing_from_elsewhere(self, operator: httpx.Client, path: str) -> None:
        page = Seen(operator.get(path).text)
        tags = {tag for tag, _ in page.elements}
        assert not tags & {"script", "style", "img", "iframe", "object", "base"}
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            for name in ("href", "src", "action"):
                value = attributes.get(name) or "/"
                assert re.match(r"/(?!/)|#|data:,$", value), f"{tag} {name}={value}"

    @pytest.mark.parametrize("path", PAGES)
    def test_is_a_page_that_can_be_read_aloud(self, operator: httpx.Client, path: str) -> None:
        elements = Seen(operator.get(path).text).elements
        assert ("html", {"lang": "en"}) in elements
        assert [tag for tag, _ in elements].count("h1") == 1
        assert all(a.get("aria-label") for tag, a in elements if tag in ("svg", "nav"))


class TestWithoutSession:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def test_every_route_but_the_login_refuses(self, web: Web, stranger: httpx.Client, method: str) -> None:
        routes = [route for route in web.application.routes if isinstance(route, Route)]
        assert len(routes) == len(web.application.routes) == 9
        paths = {route.path.replace("{run}", "chest-1") for route in routes} | {"/nowhere", "//", "/login/", "/LOGIN"}
        assert paths >= PUBLIC
        for path in paths - PUBLIC:
            answer = stranger.request(method, "https://coordinator.example" + path)
            assert answer.status_code == (303 if method in ("GET", "HEAD") else 403), path
            assert answer.headers.get("location", "/login") == "/login"
            assert "chest" not in answer.text

    @pytest.mark.parametrize(
        "path", ["/login/../sites", "/%2e%2e/sites", "/login/style.css/../../sites", "/login%2f..%2f"]
    )
    def test_no_spelling_of_a_path_gets_round_it(self, stranger: httpx.Client, path: str) -> None:
        assert "city" not in stranger.get(path).text

    def test_an_invented_session_is_none(self, stranger: httpx.Client) -> None:
        for value in ("x", "", "a" * 5000, "ä"):
            answer = stranger.get("/", headers={b"cookie": f"__Host-konsil={value}".encode()})
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")


class TestWithoutPassword:
    @pytest.mark.parametrize("path", ["/", "/login", "/sites", "/runs/x/report", "/nowhere"])
    def test_every_page_says_how_to_set_one_and_nothing_else(self, empty: ServerHome, visit: Visit, path: str) -> None:
        answer = visit(create_web(empty)).get(path)
        assert answer.status_code == 503
        assert "konsil-server password" in answer.text and "No password is set yet" in answer.text
        assert "form" not in {tag for tag, _ in Seen(answer.text).elements}

    def test_nobody_can_log_in(self, empty: ServerHome, visit: Visit) -> None:
        answer = visit(create_web(empty)).post("/login", data={"password": ""})
        assert answer.status_code == 503 and not answer.cookies

    def test_a_damaged_file_opens_nothing(self, empty: ServerHome, visit: Visit) -> None:
        for data in (b"", b"{}", b'{"version":1,"cost":2,"block":1,"lanes":1,"salt":"","hash":""}'):
            write_atomically(password_file(empty), data)
            answer = visit(create_web(empty)).get("/")
            assert answer.status_code == 503 and "damaged" in answer.text


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_nothing_but_a_request_for_a_page_is_answered(web: Web, kind: str) -> None:
    async def never(*_: object) -> Any:
        raise AssertionError("nothing is read and nothing said")

    asyncio.run(web({"type": kind, "path": "/", "headers": []}, never, never))
