import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from server.commands import runs as commands
from server.commands.web import password
from server.federation import create
from server.history import History
from server.home import ServerHome
from server.models import publish_model
from server.web.password import read_password
from shared.crypto.identity import Identity
from shared.errors import InputError, PeerError
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.study import MINIMAL, parse_study, study_hash
from shared.weights import save_weights

STUDY = parse_study(MINIMAL)
app = typer.Typer()
for command in (commands.runs, commands.models, commands.verify, commands.report, password):
    app.command()(command)


def konsil(*words: object, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=stdin)


def result_of(run: str) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "stratified_auc": 0.9, "stratified_low": 0.8, "stratified_high": 1.0, "mean_site_auc": None,
        "pooled_auc": 0.9, "n": 4, "positives": 2, "sites": {}, "operating_point": None, "calibration_error": None,
        "calibration": [], "roc_fpr": [0.0, 1.0], "roc_tpr": [0.0, 1.0],
    }  # fmt: skip
    rounds = {"count": 2, "best": 2, "seconds": 1, "slowest_site_s": 1, "overhead_s": 0}
    images: dict[str, object] = {"used": 4, "splits": {}, "skipped": {}, "per_site": {}}
    return {
        "status": "finished", "because": "", "run": run,
        "study": {"name": STUDY.name, "hash": study_hash(STUDY).hex(), "text": STUDY},
        "sites": {"expected": ["north"], "contributed": [["north"]] * 2, "left_out": [], "images": images},
        "rounds": rounds | {"bytes_down": 1, "bytes_up": 1, "each": []}, "metrics": metrics, "baselines": None,
        "privacy": {}, "aggregation": None, "versions": {"konsil": "0.1.0"},
    }  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHome:
    """A coordinator with one signed model and two runs, named by KONSIL_DIR."""
    path = tmp_path / "coordinator"
    create(path).enroll({"north": Identity.generate().public})
    (path / "server.toml").write_text('host = "x"\n')
    home, history, network = ServerHome(path), History(path / "history.sqlite"), network_of(STUDY)
    for run in ("minimal-1", "minimal-2"):
        history.enqueue(run, STUDY)
    folder = home.runs / "minimal-1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_bytes(msgspec.json.encode(result_of("minimal-1")))
    (folder / "study.toml").write_text(MINIMAL)
    metadata = {"run": "minimal-1", "round": "2", "study": msgspec.json.encode(STUDY).decode()}
    weights = save_weights(layout_of(network), to_vector(network).astype(np.float32), metadata)
    (folder / "model.safetensors").write_bytes(weights)
    publish_model(home, folder)
    monkeypatch.setenv("KONSIL_DIR", str(path))
    return home


def test_runs_are_listed_newest_first(home: ServerHome) -> None:
    lines = [json.loads(line) for line in konsil("runs", "--json").stdout.splitlines()]
    assert [(line["run"], line["state"], line["starts"]) for line in lines] == [
        ("minimal-2", "queued", 0),
        ("minimal-1", "queued", 0),
    ]
    assert "minimal-2" in konsil("runs").stdout


@pytest.mark.parametrize("command", ["runs", "models"])
def test_looking_makes_no_coordinator(tmp_path: Path, command: str) -> None:
    found = konsil(command, "--dir", tmp_path).exception
    assert isinstance(found, InputError) and "no server.toml" in str(found)
    assert list(tmp_path.iterdir()) == []


def test_models_are_listed_and_a_bad_one_is_marked(home: ServerHome) -> None:
    shutil.copytree(home.models / "minimal-1", home.models / "other")
    lines = [json.loads(line) for line in konsil("models", "--json").stdout.splitlines()]
    assert [bool(line["problem"]) for line in lines] == [False, True]
    assert lines[0]["manifest"]["run"] == "minimal-1" and lines[1]["manifest"] is None
    text = konsil("models").stdout
    assert "other: DO NOT USE" in text and lines[0]["manifest"]["files"]["model.safetensors"] in text


def test_verify_by_name_by_folder_and_elsewhere(home: ServerHome, tmp_path: Path) -> None:
    assert konsil("verify", "minimal-1").stdout.startswith("genuine: study minimal, run minimal-1, round 2")
    copy = shutil.copytree(home.models / "minimal-1", tmp_path / "model")
    pinned = shutil.copy(home.path / "root.pub", tmp_path / "pinned.pub")
    assert konsil("verify", copy, "--root", pinned, "--dir", tmp_path / "none").exit_code == 0
    (copy / "report.html").write_text("better figures")
    assert isinstance(konsil("verify", copy).exception, PeerError)


def test_verify_without_the_root_key_says_which_one_to_bring(home: ServerHome, tmp_path: Path) -> None:
    found = konsil("verify", home.models / "minimal-1", "--dir", tmp_path).exception
    assert isinstance(found, InputError) and "Name the root.pub" in str(found)
    assert isinstance(konsil("verify", "nothing").exception, InputError)


def test_a_report_is_written_anew_by_run_or_by_folder(home: ServerHome, tmp_path: Path) -> None:
    page = home.runs / "minimal-1" / "report.html"
    assert konsil("report", "minimal-1").stdout == f"wrote {page}\n"
    page.unlink()
    assert konsil("report", home.runs / "minimal-1", "--dir", tmp_path).exit_code == 0
    assert page.is_file()
    found = konsil("report", "minimal-2").exception
    assert isinstance(found, InputError) and "expected the result of a run" in str(found)


def test_the_password_is_typed_twice_or_piped(home: ServerHome) -> None:
    assert konsil("password", stdin="correct horse battery\ncorrect horse battery\n").exit_code == 0
    first = read_password(home)
    assert first is not None and first.matches("correct horse battery")
    answer = konsil("password", "--stdin", stdin="another long password\r\n")
    assert answer.exit_code == 0 and "another" not in answer.output
    second = read_password(home)
    assert second is not None and second.matches("another long password")
    assert isinstance(konsil("password", "--stdin", stdin="short\n").exception, InputError)
    assert read_password(home) == second


def test_a_password_needs_a_coordinator(tmp_path: Path) -> None:
    assert isinstance(konsil("password", "--dir", tmp_path, "--stdin", stdin="x" * 20).exception, InputError)
    assert list(tmp_path.iterdir()) == []
