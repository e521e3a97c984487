import re
import shutil
from collections.abc import Callable

import httpx
import pytest

from server import observer as seen
from server.history import History
from server.home import ServerHome
from server.web.app import Web, create_web
from server.web.hospitals import read_nodes
from server.web.pages import SHOWN
from server.web.password import set_password
from server.web.render import when
from shared.study import MINIMAL, parse_study

PASSWORD = "correct horse battery"
Visit = Callable[[Web], httpx.Client]


def words(client: httpx.Client, path: str) -> str:
    """The text of a page, without its tags."""
    answer = client.get(path)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text))


def log_in(home: ServerHome, visit: Visit) -> httpx.Client:
    set_password(home, PASSWORD, cost=4)
    client = visit(create_web(home))
    client.get("/login")
    client.post("/login", data={"ticket": client.cookies["__Host-konsil-ticket"], "password": PASSWORD})
    return client


class TestRuns:
    def test_every_run_with_its_figures(self, operator: httpx.Client) -> None:
        page = words(operator, "/")
        assert re.search(r"chest-3 queued – – –", page)
        assert re.search(r"chest-2 running 4 of 12 0\.766 AUC 2\.20", page)
        assert re.search(r"chest-1 finished 12 of 12 0\.902 AUC 5\.60", page)

    def test_an_empty_history_says_what_to_do(self, empty: ServerHome, visit: Visit) -> None:
        client = log_in(empty, visit)
        assert "konsil-server run study.toml" in words(client, "/")
        assert "konsil-server invite NAME" in words(client, "/sites")
        assert "No model yet" in words(client, "/models")
        assert "refresh" not in client.get("/").text

    def test_runs_that_are_not_shown_are_counted(self, empty: ServerHome, visit: Visit) -> None:
        history = History(empty.history)
        for number in range(SHOWN + 2):
            history.enqueue(f"r{number}", parse_study(MINIMAL))
        page = words(log_in(empty, visit), "/")
        assert "2 older runs not shown" in page and "r51" in page and " r1 " not in page


class TestRun:
    def test_the_one_under_way(self, operator: httpx.Client) -> None:
        page = words(operator, "/runs/chest-2")
        assert "Round 5 of 12, train: 1 of 2 hospitals answered." in page
        assert re.search(r"About 1\smin\s\d\d\ss left", page)
        assert re.search(r"university OUT .* 0 of 4 – join: policy\.toml allows no study without privacy", page)
        assert re.search(r"east not yet – 0 of 4", page)
        assert "east, university" in page  # of round 1's missing

    def test_a_hostile_reason_is_text(self, operator: httpx.Client) -> None:
        page = operator.get("/runs/chest-2").text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\ufffd&lt;img src=//evil.example/x&gt;\ufffd[31m{{ 7*7 }}" in page
        assert "<script" not in page and "\u202e" not in page and "\x1b" not in page

    def test_it_refreshes_itself_while_it_runs_unless_paused(self, operator: httpx.Client) -> None:
        line = '<meta http-equiv="refresh" content="10; url=/runs/chest-2?auto">'
        assert line in operator.get("/runs/chest-2").text
        assert line not in operator.get("/runs/chest-2?pause").text
        assert "http-equiv" not in operator.get("/runs/chest-1").text

    def test_the_finished_one_leads_to_its_report_and_model(self, operator: httpx.Client) -> None:
        page = operator.get("/runs/chest-1").text
        assert 'href="/runs/chest-1/report"' in page and 'href="/models#chest-1"' in page
        assert "No hospital was left out of any step." in page
        assert "/report" not in operator.get("/runs/chest-2").text

    def test_the_figures_are_said_in_words(self, operator: httpx.Client) -> None:
        page = operator.get("/runs/chest-1").text
        assert 'role="img" aria-label="AUC of the validation patients: 0.610 in round 1, 0.902 in round 12;' in page

    @pytest.mark.parametrize("run", ["none", "...", "%2e%2e", "chest-1%2f..%2fchest-1", "<script>", "a" * 9000])
    @pytest.mark.parametrize("rest", ["", "/report"])
    def test_no_other_name_leads_anywhere(self, operator: httpx.Client, run: str, rest: str) -> None:
        answer = operator.get(f"/runs/{run}{rest}")
        assert answer.status_code == 404
        assert "<script" not in answer.text

    def test_a_failed_run_says_why(self, empty: ServerHome, visit: Visit) -> None:
        history = History(empty.history)
        history.enqueue("a", parse_study(MINIMAL))
        history.start("a")
        history.record("a", seen.RunStarted("a", "minimal", 2, 2))
        history.end("a", "failed", "two <b>hospitals</b> are left")
        page = log_in(empty, visit).get("/runs/a").text
        assert "two &lt;b&gt;hospitals&lt;/b&gt; are left" in page and "0 of 2" in page

    def test_a_run_without_privacy_and_with_noise_on_its_evaluations(self, empty: ServerHome, visit: Visit) -> None:
        history = History(empty.history)
        history.enqueue("a", parse_study(MINIMAL))
        history.start("a")
        history.record("a", seen.RunStarted("a", "minimal", 2, 2, noisy=True))
        history.record("a", seen.RoundFinished(1, 0.75, {}, ("city", "north"), 1.0))
        client = log_in(empty, visit)
        page = words(client, "/runs/a")
        assert "validation patients, with noise, round 1" in page and "AUC, noisy" in page
        assert "ε, worst hospital – none recorded" in page
        drawings = re.findall(r'role="img" aria-label="([^:]*):', client.get("/runs/a").text)
        assert drawings == ["AUC of the validation patients, with noise"]

    def test_a_damaged_result_hides_nothing_else(self, made: ServerHome, operator: httpx.Client) -> None:
        path = made.runs / "chest-1" / "result.json"
        kept = path.read_bytes()
        try:
            path.write_bytes(b"{")
            assert "12 of 12" in words(operator, "/runs/chest-1")
        finally:
            path.write_bytes(kept)


class TestReport:
    def test_it_is_the_file_in_a_world_of_its_own(self, made: ServerHome, operator: httpx.Client) -> None:
        answer = operator.get("/runs/chest-1/report")
        assert answer.content == (made.runs / "chest-1" / "report.html").read_bytes()
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "sandbox", "style-src 'unsafe-inline'", "frame-ancestors 'none'"} <= set(policy)
        assert not any("script" in rule or "allow" in rule for rule in policy)

    def test_before_the_end_there_is_none(self, operator: httpx.Client) -> None:
        answer = operator.get("/runs/chest-2/report")
        assert answer.status_code == 404 and "none yet" in answer.text


class TestHospitals:
    def test_connection_last_contribution_and_what_was_missed(self, operator: httpx.Client) -> None:
        page = words(operator, "/sites")
        assert re.search(r"Roster 1, valid from \d+ \w+ \d+, \d\d:\d\d UTC to", page)
        assert re.search(r"city online 2 Mar 2025, 10:11 UTC .* chest-2 , round 4 0 of 4", page)
        assert re.search(r"east OFFLINE – .* chest-1 , round 12 4 of 4", page)
        assert re.search(r"university never seen – .* chest-1 , round 12 4 of 4", page)

    @pytest.mark.parametrize("data", [b"", b"[]", b'{"a": {}}', b'{"a": {"online": "yes"}}', b"\xff"])
    def test_a_damaged_list_of_nodes_knows_nobody(self, empty: ServerHome, data: bytes) -> None:
        path = empty.path / "nodes.json"
        assert read_nodes(path) == {}
        path.write_bytes(data)
        assert read_nodes(path) == {}

    def test_without_a_roster_the_page_says_what_is_wrong(self, empty: ServerHome, visit: Visit) -> None:
        client = log_in(empty, visit)
        (empty.path / "roster.bin").unlink()
        answer = client.get("/sites")
        assert answer.status_code == 500 and "expected a signed roster, got no such file" in answer.text
        assert "default-src" in answer.headers["content-security-policy"]


class TestModels:
    def test_digest_and_how_to_verify(self, operator: httpx.Client) -> None:
        page = words(operator, "/models")
        assert re.search(r"SHA-256 [0-9a-f]{64}", page)
        assert "konsil-server verify MODEL-FOLDER --root root.pub" in page

    def test_a_changed_manifest_is_no_model(self, made: ServerHome, operator: httpx.Client) -> None:
        bad = shutil.copytree(made.models / "chest-1", made.models / "chest-9")
        try:
            page = words(operator, "/models")
        finally:
            shutil.rmtree(bad)
        assert "chest-9 DO NOT USE" in page and "expected chest-9, got chest-1" in page


def test_times_are_read_by_people() -> None:
    assert when("2025-03-02T10:11:12Z") == "2 Mar 2025, 10:11 UTC"
    assert when("2025-03-02T23:30:00-01:00") == "3 Mar 2025, 00:30 UTC"
    assert (when(""), when("yesterday")) == ("–", "yesterday")
