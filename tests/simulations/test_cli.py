"""Bad input at the command line: one clear message on stderr, the right exit status, nothing half-written. And the last
words of a run that went well."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from rich.console import Console

from shared.study import MINIMAL, parse_study
from simulations.cli import _finish, main
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation

Command = Callable[..., tuple[int, str]]
PRIVATE = 'mode = "local"\nepsilon = {}\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'
OPEN_POLICY = """
[privacy]
least = "off"
epsilon_total = 100.0
epsilon_per_study = 100.0
[aggregation]
min_cohort = 2
colluders = 0
[studies]
ask = false
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "alder"
    write_hospital(out, patients=4, seed=1, profile=PROFILES["alder"])
    return out


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["konsil-simulate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), capsys.readouterr().err

    return call


def sites(*archives: Path) -> list[str]:
    return [part for index, path in enumerate(archives) for part in ("--site", f"h{index}={path}")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds = 2", "roundz = 2", "study.toml: training.roundz: expected a known key"),
        ('name = "cnn"', 'name = "cnm"', "expected one of autoencoder, cnn, densenet121"),
        ('mode = "off"', PRIVATE.format(0.001), "study.toml: privacy.epsilon: expected a target that 4 steps can meet"),
        ("min_sites = 2", "min_sites = 3", "sites: expected at least federation.min_sites = 3, got 2"),
    ],
)
def test_a_study_that_cannot_run_is_bad_input(
    command: Command, archive: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(MINIMAL.replace(old, new))
    out = tmp_path / "out"
    status, error = command("run", study, *sites(archive, archive), "--out", out)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_folder_without_dicom_and_a_folder_without_labels(command: Command, archive: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(MINIMAL)
    empty = tmp_path / "empty"
    empty.mkdir()
    status, error = command("run", study, *sites(archive, empty), "--out", tmp_path / "out")
    assert (status, "labels.csv" in error) == (2, True)
    (empty / "labels.csv").write_text("sop_instance_uid,label\n1.2.3,clear\n")
    status, error = command("run", study, *sites(archive, empty), "--out", tmp_path / "out2")
    assert status == 2
    assert "DICOM" in error


def test_a_label_file_that_matches_nothing(command: Command, archive: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(MINIMAL)
    other = tmp_path / "other"
    other.mkdir()
    for path in archive.rglob("*"):
        if path.is_file() and path.name != "labels.csv":
            target = other / path.relative_to(archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (other / "labels.csv").write_text("sop_instance_uid,label\n1.2.3,clear\n")
    status, error = command("run", study, *sites(archive, other), "--out", tmp_path / "out")
    assert status == 2
    assert "sop_instance_uid" in error


@pytest.mark.parametrize("option", ["nonsense", "=x", "x="])
def test_a_site_option_that_is_none(command: Command, tmp_path: Path, option: str) -> None:
    study = tmp_path / "study.toml"
    study.write_text(MINIMAL)
    status, error = command("run", study, "--site", option, "--out", tmp_path / "out")
    assert (status, "expected NAME=ARCHIVE" in error) == (2, True)


def test_resume_of_nothing(command: Command, archive: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(MINIMAL)
    status, error = command("run", study, *sites(archive, archive), "--out", tmp_path / "out", "--resume")
    assert (status, "without --resume" in error) == (2, True)


def test_a_corrupt_checkpoint_fails_with_what_to_do(command: Command, archive: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(MINIMAL)
    checkpoint = tmp_path / "out" / "checkpoints" / "round-00001.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"torn")
    status, error = command("run", study, *sites(archive, archive), "--out", tmp_path / "out", "--resume")
    assert status == 1
    assert "Delete it" in error
    assert checkpoint.read_bytes() == b"torn"


def test_an_unknown_profile(command: Command, tmp_path: Path) -> None:
    status, error = command("hospital", tmp_path / "x", "--profile", "elm")
    assert (status, "expected one of alder" in error) == (2, True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("modality", "seen"), [("XR", "DX"), ("CT", "CT")])
def test_a_hospital_of_radiographs_or_of_ct(command: Command, tmp_path: Path, modality: str, seen: str) -> None:
    status, _ = command("hospital", tmp_path / "x", "--patients", "1", "--modality", modality)
    assert status == 0
    assert {dcmread(path).Modality for path in (tmp_path / "x" / "DICOM").rglob("IM000001.dcm")} == {seen}


@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        ("", " held-out images"),
        ("epsilon = 4.0\ndelta = 1e-5\n", " held-out patients, with noise"),
    ],
)
def test_the_last_words_say_what_was_counted_and_how_well(tmp_path: Path, asked: str, ends: str) -> None:
    """Of a real run: images, exactly; or patients, each of the same weight, with noise."""
    archives = {name: tmp_path / name for name in ("alder", "birch", "cedar")}
    for seed, (name, path) in enumerate(archives.items()):
        write_hospital(path, patients=14, seed=seed, profile=PROFILES[name])
    text = MINIMAL.replace('["DX"]', '["DX", "CR"]').replace("[32, 32]", "[16, 16]")
    study = parse_study(f"{text}[aggregation]\ncolluders = 0\n[evaluation]\ntest = 0.3\nvalidation = 0.3\n{asked}")
    local = LocalFederation.make(tmp_path, archives, study)
    for name in archives:
        (local.home(name).path / "policy.toml").write_text(OPEN_POLICY)
    _, result = local.run(LocalLink(local.sites()), study)
    assert result.metrics is not None
    out = io.StringIO()
    _finish(result, tmp_path, Console(file=out, width=200))
    first = out.getvalue().splitlines()[0]
    assert first.endswith(f" on {'about ' if asked else ''}{result.metrics.n}{ends}")
