"""What is done with a finished model, from the run to another house: published, verified, judged, exported."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app as client
from server.cli import app as coordinator
from server.federation import Federation
from server.home import ServerHome
from server.models import publish_model, verify_model
from server.observer import Observer
from server.report.result import read_result
from server.run import conduct, open_run
from shared.errors import InputError, PeerError
from shared.manifest import FILES, MANIFEST
from shared.study import Study
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation, Recorder

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital that is in no federation."""
    folder = tmp_path_factory.mktemp("elsewhere") / "elm"
    write_hospital(folder, patients=12, seed=77, profile=PROFILES["alder"])
    return folder


def finished(local: LocalFederation, study: Study) -> tuple[Path, Federation]:
    """A real run of `study` in its folder, up to its report."""
    observer: Observer = Recorder()
    start = open_run(local.folder / "run", study, resume=False)
    shutil.copytree(local.folder / "federation", local.folder / "coordinator")
    federation = Federation(local.folder / "coordinator")
    result = conduct(start, LocalLink(local.sites()), federation, observer)
    assert result.status == "finished"
    return local.folder / "run", federation


def write_study(folder: Path, study: Study) -> None:
    text = (Path(__file__).parent / "conftest.py").read_text().split('STUDY = """')[1].split('"""')[0]
    (folder / "study.toml").write_text(text)


def test_from_the_run_to_another_house(local: LocalFederation, study: Study, elsewhere: Path, tmp_path: Path) -> None:
    folder, federation = finished(local, study)
    write_study(folder, study)
    assert {"model-card.md", "model-card.html", "report.html", "result.json"} <= {one.name for one in folder.iterdir()}
    model = publish_model(ServerHome(federation.path), folder)
    assert {one.name for one in model.iterdir()} == {*FILES, MANIFEST}
    root = tmp_path / "root.pub"
    root.write_bytes(federation.root_public)
    received = shutil.copytree(model, tmp_path / "received")
    manifest = verify_model(received, root.read_bytes())
    assert manifest.files["model.safetensors"] in (received / "model-card.md").read_text()
    judge(received, root, elsewhere, tmp_path)
    export_all(received, root, tmp_path)
    altered(received, root, elsewhere)


def judge(model: Path, root: Path, archive: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(model), str(archive), "--labels", str(archive / "labels.csv"), "--root", str(root)]
    done = RUNNER.invoke(client, [*words, "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told == json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [one["genuine"] for one in told["models"]] == [True]
    assert told["images"] == told["judged"]["images"] > 15
    assert told["judge"] == "chosen on the validation patients of the training"
    trained = read_result(model / "result.json").judged
    assert trained is not None
    chosen = {one["name"]: one["value"] for one in told["judged"]["figures"]}
    there = trained.figure("threshold")
    assert there is not None and chosen["threshold"] == pytest.approx(there.value)
    assert "<script" not in (tmp_path / "out" / "evaluation.html").read_text()


def export_all(model: Path, root: Path, tmp_path: Path) -> None:
    for name, file in {"onnx": "m.onnx", "torchscript": "m.ts", "torch-export": "m.pt2", "monai-bundle": "b"}.items():
        words = ["export", str(model), "--format", name, "--out", str(tmp_path / file), "--root", str(root)]
        done = RUNNER.invoke(coordinator, words)
        assert done.exit_code == 0, (done.output, done.exception)
        assert "loaded again" in done.stdout
        assert "nobody vouches" not in done.stdout
        assert (tmp_path / file).exists()


def altered(model: Path, root: Path, archive: Path) -> None:
    """One changed byte, and neither command does anything."""
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (model / "model.safetensors").write_bytes(data)
    for app, words in (
        (client, ["evaluate", str(model), str(archive), "--labels", str(archive / "labels.csv")]),
        (coordinator, ["export", str(model), "--format", "torchscript", "--out", str(model.parent / "never")]),
    ):
        done = RUNNER.invoke(app, [*words, "--root", str(root)])
        assert isinstance(done.exception, PeerError)
        assert done.exception.exit_status == 1
        assert "model.safetensors: expected SHA-256" in str(done.exception)
    assert not (model.parent / "never").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["m"], "arguments: expected a model and an archive"),
        (["none", "archive"], "none: expected a model, got none"),
        (["none", "archive", "--root", "nothing"], "nothing: expected 32 bytes, got 0"),
    ],
)
def test_what_is_unusable_is_said_with_status_2(words: list[str], message: str) -> None:
    done = RUNNER.invoke(client, ["evaluate", *words, "--labels", "labels.csv"])
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_status == 2
    assert message in str(done.exception)
