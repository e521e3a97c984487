"""konsil-server up, run, status, cancel, without a SuperLink: what is checked before, and what is said."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from server.commands import coordinator
from server.federation import Federation, create
from server.history import History
from server.home import ServerHome
from server.run import asked
from shared.crypto.identity import Identity
from shared.errors import InputError, KonsilError, OperatorError
from shared.study import MINIMAL
from shared.supervise import Program

app = typer.Typer()
for command in (coordinator.up, coordinator.run, coordinator.status, coordinator.cancel):
    app.command()(command)


def konsil(home: ServerHome, *words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words), "--dir", str(home.path)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHome:
    path = tmp_path / "fed"
    create(path).enroll({name: Identity.generate().public for name in ("alder", "birch", "cedar")})
    (path / "server.toml").write_text('host = "localhost"\n')
    monkeypatch.setattr(coordinator, "answers", lambda _: False)
    return ServerHome(path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "study.toml").write_text(MINIMAL)
    return tmp_path / "study.toml"


def test_up_starts_its_programs_with_flower_at_home(home: ServerHome, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Program] = []

    def supervise(programs: Sequence[Program], **_: object) -> None:
        found.extend(programs)

    monkeypatch.setattr(coordinator, "supervise", supervise)
    monkeypatch.setattr(coordinator, "stop_on_signals", lambda: None)
    (home.path / "tls").mkdir()
    for name in ("ca.pem", "server.pem", "server.key"):
        (home.path / "tls" / name).write_text("")
    coordinator.up(home.path)
    assert {program.name for program in found} >= {"superlink", "conductor"}
    for program in found:
        if program.name in ("superlink", "conductor"):
            assert program.env["FLWR_HOME"] == str(home.path / "flower")
        assert program.user == ""


def test_up_says_what_is_wrong_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "supervise", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(KonsilError):
        coordinator.up(tmp_path)


def test_a_survey_is_queued_as_one(home: ServerHome, study: Path) -> None:
    assert konsil(home, "run", study, "--no-wait").exit_code == 0
    assert konsil(home, "run", study, "--survey", "--no-wait").exit_code == 0
    surveyed, whole = (home.runs / line.run for line in History(home.history).runs())
    assert (asked(surveyed), asked(whole)) == ("survey", "model")
    assert [path.name for path in whole.iterdir()] == ["study.toml"]


def test_a_survey_is_not_resumed(home: ServerHome) -> None:
    found = konsil(home, "run", "--survey", "--resume", "a-run")
    assert isinstance(found.exception, InputError)
    assert "--survey with a study file" in str(found.exception)


def test_what_a_run_is_for_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "asked.json").write_text('{"purpose": "both"}')
    with pytest.raises(OperatorError, match="what the run is for"):
        asked(tmp_path)


def test_a_renewed_certificate_is_taken_once_and_disturbs_no_run(home: ServerHome, study: Path) -> None:
    (home.path / "tls").mkdir()
    certificate = home.tls / "server.pem"
    certificate.write_text("first")
    renewed = coordinator._Renewed(home)
    assert not renewed()
    konsil(home, "run", study, "--no-wait")
    certificate.write_text("second")
    assert not renewed(), "a run is queued"
    History(home.history).cancel(History(home.history).runs()[0].run)
    assert renewed()
    assert not renewed()


def test_a_study_is_queued_with_its_text(home: ServerHome, study: Path) -> None:
    done = konsil(home, "run", study, "--no-wait")
    assert done.exit_code == 0
    (line,) = History(home.history).runs()
    assert (line.state, line.starts) == ("queued", 0)
    assert (home.runs / line.run / "study.toml").read_text() == MINIMAL
    assert f"queued: run {line.run}" in done.output
    assert "the coordinator is not up" in done.output


@pytest.mark.parametrize("change", [("min_sites = 3", "min_sites = 4"), ('"cnn"', '"no-such"')])
def test_what_cannot_work_is_not_queued(home: ServerHome, study: Path, change: tuple[str, str]) -> None:
    text = MINIMAL if change[0] in MINIMAL else MINIMAL + "\n[federation]\nmin_sites = 4\n"
    study.write_text(text.replace(*change))
    done = konsil(home, "run", study, "--no-wait")
    assert isinstance(done.exception, KonsilError)
    assert History(home.history).runs() == ()
    assert not home.runs.exists()


@pytest.mark.parametrize("words", [[], ["study.toml", "--resume", "r"]])
def test_a_study_or_a_run_to_resume(home: ServerHome, words: list[str]) -> None:
    assert isinstance(konsil(home, "run", *words).exception, InputError)


def test_resume_only_what_ended_early(home: ServerHome, study: Path) -> None:
    konsil(home, "run", study, "--no-wait")
    history = History(home.history)
    name = history.runs()[0].run
    assert isinstance(konsil(home, "run", "--resume", name, "--no-wait").exception, InputError)
    history.start(name)
    history.end(name, "failed", "because")
    assert konsil(home, "run", "--resume", name, "--no-wait").exit_code == 0
    assert history.run(name).state == "queued"
    assert isinstance(konsil(home, "run", "--resume", "none").exception, InputError)


def test_following_a_run_that_fails_says_why_and_how_to_go_on(home: ServerHome, study: Path) -> None:
    konsil(home, "run", study, "--no-wait")
    history = History(home.history)
    name = history.runs()[0].run
    history.start(name)
    history.end(name, "failed", "too few hospitals")
    with pytest.raises(OperatorError, match=f"too few hospitals.*run --resume {name}"):
        coordinator.follow(home, history, name, Console())


def test_cancel(home: ServerHome, study: Path) -> None:
    konsil(home, "run", study, "--no-wait")
    history = History(home.history)
    name = history.runs()[0].run
    assert konsil(home, "cancel", name).exit_code == 0
    assert history.run(name).state == "cancelled"
    assert isinstance(konsil(home, "cancel", name).exception, InputError)


def test_status_while_down(home: ServerHome, study: Path) -> None:
    konsil(home, "run", study, "--no-wait")
    done = konsil(home, "status", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["up"], found["hospitals"]) == (False, {"alder": None, "birch": None, "cedar": None})
    assert [line["state"] for line in found["runs"]] == ["queued"]
    shown = konsil(home, "status")
    assert "DOWN" in shown.output
    assert Federation(home.path).roster.version == 1
