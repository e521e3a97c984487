"""konsil-client up, agent, node, status: who may run what as whom, and what `status` shows."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

import client.commands.daemon
from client import frames
from client.commands.daemon import up
from client.commands.join import join
from client.home import DaemonConfig, Home
from client.node_report import NodeReport
from client.status_record import Budget, Status, Work
from server.commands.federation import init, invite
from shared.errors import InputError, KonsilError, SiteError
from shared.supervise import Program
from shared.text import printable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start each side as its own user")
STATUS = Status(
    site="alder",
    taking_part=True,
    why_not="",
    node=NodeReport(coordinator="c:1", registered=True, node="7", since="2026", trouble="[/b][red]\u202e"),
    node_heard_s=0.1,
    agent_since="2026",
    busy=Work(what="train", run="[bold]run", round=3, at="2026"),
    last_message=Work(),
    last_round=Work(),
    budget=Budget(spent=1.0, limit=8.0, delta=1e-5),
    disk_free_gb=1.0,
    gpu="not used",
    software="0.1.0",
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A hospital that joined as one user."""
    init(tmp_path / "fed", "localhost")
    invite(["alder"], tmp_path / "fed")
    (tmp_path / "archive").mkdir()
    join(tmp_path / "fed/invites/alder.invite", tmp_path / "archive", home=tmp_path / "konsil", single_user=True)
    return Home(tmp_path / "konsil")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """What would have been started."""
    found: list[Program] = []

    def supervise(programs: Sequence[Program], **_: object) -> None:
        found.extend(programs)

    monkeypatch.setattr(client.commands.daemon, "supervise", supervise)
    monkeypatch.setattr(client.commands.daemon, "stop_on_signals", lambda: None)
    return found


def configure(home: Home, **daemon: object) -> None:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in daemon.items())
    text = (home.path / "site.toml").read_text()
    (home.path / "site.toml").write_text(text[: text.index("[daemon]")] + "[daemon]\n" + lines)
    assert home.config.daemon == DaemonConfig(**daemon)  # type: ignore[arg-type]


def test_one_user_by_its_own_leave(home: Home, started: list[Program]) -> None:
    up(home.path)
    assert [(program.name, program.user) for program in started] == [("agent", ""), ("node", "")]


@needs_root
def test_two_users_each_for_its_side(home: Home, started: list[Program]) -> None:
    configure(home, agent_user="64001", node_user="64002")
    up(home.path)
    assert [(program.name, program.user) for program in started] == [("agent", "64001"), ("node", "64002")]


@pytest.mark.parametrize(
    ("agent", "node"),
    [("", ""), ("64001", ""), ("", "64002"), ("64001", "64001"), ("64001", "064001"), ("root", "0"), ("64001", "0"),
     ("64001", "root"), ("64001", "no-such-user"), ("no-such-user", "64002")],
)  # fmt: skip
def test_one_user_or_root_for_the_network_side_starts_nothing(
    home: Home, started: list[Program], agent: str, node: str
) -> None:
    configure(home, agent_user=agent, node_user=node)
    with pytest.raises(KonsilError):
        up(home.path)
    assert started == []


def test_only_root_starts_two_users(home: Home, started: list[Program], monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home, agent_user="64001", node_user="64002")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(InputError, match="started by user 1000"):
        up(home.path)
    assert started == []


def test_both_sides_mean_the_same_socket(home: Home, started: list[Program]) -> None:
    with pytest.raises(InputError, match=r"node.toml: socket: expected /elsewhere"):
        up(home.path, socket=Path("/elsewhere"))
    assert started == []


app = typer.Typer()
app.command()(client.commands.daemon.status)


def status(monkeypatch: pytest.MonkeyPatch, answer: bytes, *words: str) -> Any:
    monkeypatch.setattr(frames, "ask", lambda *_, **__: answer)
    return CliRunner().invoke(app, ["--home", "/h", *words])


def test_status_exits_0_only_where_it_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for taking_part in (True, False):
        found = msgspec.structs.replace(STATUS, taking_part=taking_part, why_not="" if taking_part else "silent")
        done = status(monkeypatch, msgspec.json.encode(found))
        assert done.exit_code == (0 if taking_part else 1)
        assert ("NOT taking part" in done.output) is not taking_part


def test_what_others_said_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = msgspec.structs.replace(STATUS.node, registered=False)  # type: ignore[type-var]
    done = status(monkeypatch, msgspec.json.encode(msgspec.structs.replace(STATUS, node=lost)))
    assert "[/b][red]" in done.output
    assert "train of [bold]run, round 3" in done.output


@pytest.mark.parametrize("hostile", ["a\x1b[31mb", "a\nNOT taking part", "a\u202eb", "[red]b[/red]"])
def test_no_word_of_others_steers_the_terminal(monkeypatch: pytest.MonkeyPatch, hostile: str) -> None:
    work = Work(what="train", run=hostile, round=3, at="2026")
    found = msgspec.structs.replace(STATUS, busy=work, last_round=work, site=hostile)
    done = status(monkeypatch, msgspec.json.encode(found))
    assert all(line.isprintable() for line in done.output.split("\n"))
    assert " ".join(done.output.split()).count(printable(hostile)) == 3


def test_json_is_all_there_is_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    done = status(monkeypatch, msgspec.json.encode(STATUS), "--json")
    assert msgspec.json.decode(done.stdout, type=Status) == STATUS


def test_no_agent_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="konsil-client up"):
        client.commands.daemon.status(tmp_path / "h", tmp_path / "none")
