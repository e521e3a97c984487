import re
from collections.abc import Callable

import httpx
import pytest

from server.home import ServerHome
from server.web.app import Web, create_web
from server.web.password import Password, password_file, read_password, set_password
from server.web.sessions import MOST_SESSIONS, MOST_SOURCES, Delays, Sessions
from shared.errors import InputError

Visit = Callable[[Web], httpx.Client]
PASSWORD = "correct horse battery"
SESSION, TICKET, BROWSER = "__Host-konsil", "__Host-konsil-ticket", "__Host-konsil-browser"


class Ticking:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def attempt(client: httpx.Client, password: str) -> int:
    client.get("/login")
    return client.post("/login", data={"ticket": client.cookies[TICKET], "password": password}).status_code


class TestLogin:
    def test_the_cookies_are_this_hosts_only_and_out_of_reach_of_scripts(self, stranger: httpx.Client) -> None:
        stranger.get("/login")
        answer = stranger.post("/login", data={"ticket": stranger.cookies[TICKET], "password": PASSWORD})
        set_cookies = {line.partition("=")[0]: line for line in answer.headers.get_list("set-cookie")}
        assert set(set_cookies) == {SESSION, BROWSER, TICKET}
        for line in set_cookies.values():
            assert {"httponly", "secure", "samesite=strict", "path=/"} <= set(re.split(r";\s*", line.lower()))
            assert "domain" not in line.lower()

    def test_a_form_without_the_ticket_of_its_page_counts_for_nothing(self, stranger: httpx.Client) -> None:
        assert stranger.post("/login", data={"password": PASSWORD}).status_code == 403
        stranger.get("/login")
        for ticket in ("", "x", "ä"):
            answer = stranger.post("/login", data={"ticket": ticket, "password": PASSWORD})
            assert answer.status_code == 403 and SESSION not in answer.cookies

    @pytest.mark.parametrize("body", [b"\xff", b"a" * 20_000, b"&".join([b"a=1"] * 20), b"", b'{"password": 1}'])
    def test_what_is_no_form_is_refused(self, stranger: httpx.Client, body: bytes) -> None:
        assert stranger.post("/login", content=body).status_code in (400, 403)

    def test_each_login_gets_a_new_token_whatever_was_planted_before(self, stranger: httpx.Client) -> None:
        stranger.cookies.set(SESSION, "planted")
        assert attempt(stranger, PASSWORD) == 303
        assert stranger.get("/", headers={"cookie": f"{SESSION}=planted"}).status_code == 303
        tokens = [cookie.value for cookie in stranger.cookies.jar if cookie.name == SESSION]
        assert any(token and len(token) == 43 for token in tokens)

    def test_who_is_logged_in_needs_no_form(self, operator: httpx.Client) -> None:
        assert operator.get("/login").headers["location"] == "/"

    def test_logout_needs_the_pages_own_button(self, operator: httpx.Client) -> None:
        assert operator.get("/logout").status_code == 405
        assert operator.post("/logout", data={"csrf": "x"}).status_code == 403
        assert operator.post("/logout").status_code == 403
        found = re.search(r'name="csrf" value="([^"]+)"', operator.get("/").text)
        assert found
        token = operator.cookies[SESSION]
        assert operator.post("/logout", data={"csrf": found[1]}).headers["location"] == "/login"
        assert operator.get("/", headers={"cookie": f"{SESSION}={token}"}).status_code == 303


class TestTime:
    def test_a_session_ends_after_half_an_hour_without_a_person(self, operator: httpx.Client, clock: Ticking) -> None:
        for _ in range(3):
            clock.now += 1700
            assert operator.get("/").status_code == 200
        clock.now += 1800
        assert operator.get("/").status_code == 303

    def test_a_page_that_refreshes_itself_keeps_no_session_open(self, operator: httpx.Client, clock: Ticking) -> None:
        for _ in range(3):
            clock.now += 500
            assert operator.get("/?auto").status_code == 200
        clock.now += 400
        assert operator.get("/?auto").status_code == 303

    def test_a_session_ends_after_twelve_hours(self, operator: httpx.Client, clock: Ticking) -> None:
        for _ in range(43):
            clock.now += 1000
            assert operator.get("/").status_code == 200
        clock.now += 300
        assert operator.get("/").status_code == 303

    def test_a_new_password_ends_every_session(self, empty: ServerHome, visit: Visit) -> None:
        set_password(empty, PASSWORD, cost=4)
        client = visit(create_web(empty))
        assert attempt(client, PASSWORD) == 303
        set_password(empty, PASSWORD, cost=4)
        assert client.get("/").status_code == 303


class TestGuessing:
    def test_each_wrong_password_doubles_the_delay_up_to_a_minute(self, stranger: httpx.Client, clock: Ticking) -> None:
        for delay in (1, 2, 4, 8, 16, 32, 60, 60, 60):
            assert attempt(stranger, "wrong") == 401
            clock.now += delay - 0.5
            assert attempt(stranger, PASSWORD) == 429
            clock.now += 0.5
        assert attempt(stranger, PASSWORD) == 303

    def test_the_wait_is_said(self, stranger: httpx.Client) -> None:
        attempt(stranger, "wrong")
        answer = stranger.post("/login", data={"ticket": stranger.cookies[TICKET], "password": "x"})
        assert answer.headers["retry-after"] == "2" and "Try again in 2 s" in answer.text

    def test_a_browser_that_was_logged_in_does_not_wait_for_anothers_guesses(
        self, web: Web, operator: httpx.Client, stranger: httpx.Client
    ) -> None:
        for _ in range(3):
            attempt(stranger, "wrong")
        operator.cookies.delete(SESSION)
        assert attempt(operator, PASSWORD) == 303
        assert attempt(stranger, PASSWORD) == 429

    @pytest.mark.parametrize("mark", ["x.y", "x", "", "."])
    def test_an_invented_browser_mark_buys_no_guess(self, stranger: httpx.Client, mark: str) -> None:
        attempt(stranger, "wrong")
        stranger.cookies.set(BROWSER, mark)
        assert attempt(stranger, PASSWORD) == 429

    def test_both_tables_are_bounded(self) -> None:
        clock = Ticking()
        delays, sessions = Delays(clock), Sessions(clock)
        assert delays.claim("first") == 0.0 and delays.claim("first") == 1.0
        first = sessions.open("p")
        for number in range(MOST_SOURCES):
            clock.now += 0.0001
            delays.claim(str(number))
        for _ in range(MOST_SESSIONS):
            clock.now += 0.0001
            sessions.open("p")
        assert len(delays._sources) == MOST_SOURCES and len(sessions._known) == MOST_SESSIONS
        assert sessions.find(first, "p", by_hand=True) is None

    def test_an_hour_without_a_guess_is_forgiven(self) -> None:
        clock = Ticking()
        delays = Delays(clock)
        for _ in range(5):
            assert delays.claim("a") == 0.0
            clock.now += 100
        clock.now += 3600
        assert delays.claim("a") == 0.0 and delays.claim("a") == 1.0


class TestPassword:
    def test_only_the_password_matches_and_only_its_user_reads_the_file(self, empty: ServerHome) -> None:
        set_password(empty, "Grüße an alle", cost=4)
        kept = read_password(empty)
        assert isinstance(kept, Password)
        assert kept.matches("Gru\u0308ße an alle")
        assert not any(kept.matches(guess) for guess in ("", "Grüße an allen", "grüße an alle", "x" * 5000, "\udcff"))
        assert password_file(empty).stat().st_mode & 0o077 == 0
        assert b"alle" not in password_file(empty).read_bytes()

    @pytest.mark.parametrize("password", ["", "x" * 11, "x" * 1025])
    def test_a_short_or_endless_one_is_refused(self, empty: ServerHome, password: str) -> None:
        with pytest.raises(InputError, match="the password: expected at least 12"):
            set_password(empty, password)
        assert read_password(empty) is None

    def test_the_real_cost_is_the_one_promised(self, empty: ServerHome) -> None:
        set_password(empty, PASSWORD)
        kept = read_password(empty)
        assert kept is not None and (kept.cost, kept.block, kept.lanes) == (32768, 8, 3)
        assert kept.matches(PASSWORD)
