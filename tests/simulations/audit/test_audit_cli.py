"""konsil-simulate audit on a finished run: files, verdict, exit status, and what is refused before anything is run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from shared.console import run as run_app
from simulations.audit.record import read_audit
from simulations.audit_cli import OFF, audit

Command = Callable[..., tuple[int, str, str]]
#: With 512 right of 512 guesses ε = 8 is contradicted; an honest run would have to be 8 standard deviations luckier.
CANARIES = 2048


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    app = typer.Typer(name="konsil-simulate", pretty_exceptions_enable=False)
    app.command()(audit)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["konsil-simulate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_app(app)
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    for name in ("study.toml", "result.json", "model.safetensors"):
        shutil.copyfile(run / name, tmp_path / name)
    return tmp_path


def test_an_honest_run_is_audited_without_contradiction(command: Command, run: Path) -> None:
    status, out, _ = command(run, "--canaries", CANARIES, "--shadows", 4)
    assert status == 0
    assert "of 8.00 accounted: no contradiction" in out
    assert "membership inference: AUC " in out
    record = read_audit(run / "audit.json")
    assert record.canaries is not None
    assert record.canaries.canaries == CANARIES
    assert record.membership is not None
    assert record.notes == ()
    assert str(run / "audit.html") in out
    assert record.study in (run / "audit.html").read_text("utf-8")


def test_without_noise_the_command_fails_with_an_alarm(command: Command, copy: Path) -> None:
    status, out, error = command(copy, "--canaries", CANARIES, "--without-noise", "--json")
    assert status == 1
    assert "konsil-simulate: ALARM, as it must be without noise: empirical ε" in error
    record = json.loads(out)
    assert record["canaries"]["contradicted"] is True
    assert record["canaries"]["noise"] == "none"
    assert record["membership"] is None
    assert (copy / "audit-without-noise.html").is_file()
    assert not (copy / "audit.json").exists()


def test_a_study_without_privacy_promises_nothing(command: Command, copy: Path) -> None:
    study = copy / "study.toml"
    text = study.read_text()
    start = text.index('mode = "distributed"')
    study.write_text(text[:start] + 'mode = "off"\n' + text[text.index("[aggregation]") :])
    status, out, _ = command(copy, "--shadows", 0)
    assert status == 0
    assert "no promise to audit" in out
    assert OFF in out
    assert read_audit(copy / "audit.json").canaries is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shadows", 3), "--shadows: expected 0, or an even number of at least 4, got 3"),
        (("--shadows", 2), "--shadows: expected 0, or an even number of at least 4, got 2"),
        (("--canaries", 2, "--shadows", 0), "--canaries: expected at least"),
    ],
)
def test_numbers_that_prove_nothing_are_bad_input(
    command: Command, copy: Path, arguments: tuple[object, ...], message: str
) -> None:
    status, _, error = command(copy, *arguments)
    assert status == 2
    assert message in error
    assert not (copy / "audit.json").exists()


def test_a_folder_without_a_run_is_bad_input(command: Command, tmp_path: Path, copy: Path) -> None:
    status, _, error = command(tmp_path / "nothing")
    assert status == 2
    assert "study.toml" in error
    (copy / "result.json").write_text("{}")
    status, _, error = command(copy)
    assert status == 2
    assert "result.json: expected a record of a run" in error
    (copy / "result.json").unlink()
    status, _, error = command(copy)
    assert status == 2
    assert "result.json: expected a finished run, got No such file or directory" in error
