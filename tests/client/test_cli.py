"""The hospital's command line: what it prints, and bad input."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.audit import Audit
from client.cli import main
from client.ledger import Ledger, Limits, Purpose
from shared.accounting import SampledGaussian
from shared.study import MINIMAL
from shared.text import printable
from simulations.hospital import PROFILES, write_hospital

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archive") / "birch"
    write_hospital(out, patients=4, seed=1, profile=PROFILES["birch"])
    return out


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["konsil-client", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def test_scan_says_what_became_of_every_file(command: Command, archive: Path, tmp_path: Path) -> None:
    arguments = ("scan", archive, "--labels", archive / "labels.csv", "--home", tmp_path)
    status, out, _ = command(*arguments)
    assert status == 0
    for words in ("usable", "left out: file ends before its pixels do", "left out: a localizer", "0 unchanged"):
        assert words in out
    _, again, _ = command(*arguments)
    assert "0 files read" in again


def test_json_is_one_line_per_series_and_nothing_else_and_names_nobody(
    command: Command, archive: Path, tmp_path: Path
) -> None:
    status, out, _ = command("scan", archive, "--json", "--home", tmp_path)
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == len({line["series"] for line in lines}) > 3
    assert {"modality", "files", "usable", "faults"} <= lines[0].keys()


def test_dicomize_then_scan(command: Command, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,patient_id,label"]
    for index in range(3):
        Image.fromarray(rng.integers(0, 255, (12, 10, 3), np.uint8)).save(pictures / f"{index}.png")
        rows.append(f"{index}.png,p{index // 2},{'ab'[index % 2]}")
    table = pictures / "labels.csv"
    table.write_text("\n".join(rows))
    out = tmp_path / "archive"
    status, _, error = command("dicomize", pictures, "--labels", table, "--out", out)
    assert (status, "wrote 3 images" in error) == (0, True)
    status, text, _ = command("scan", out, "--labels", out / "labels.csv", "--home", tmp_path / "home")
    assert status == 0
    assert "usable, of 2 patients" in text


def test_bad_input_is_one_message_and_status_2(command: Command, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, _, error = command("scan", tmp_path / "empty", "--home", tmp_path / "home")
    assert (status, "expected a folder with DICOM files" in error) == (2, True)
    labels = tmp_path / "labels.csv"
    labels.write_text("sop_instance_uid,label\n1.2.3,clear\n")
    status, _, error = command("scan", archive, "--labels", labels, "--home", tmp_path / "home")
    assert (status, "sop_instance_uid" in error) == (2, True)
    status, _, error = command("dicomize", tmp_path / "nothing", "--out", tmp_path / "out")
    assert (status, "Check the path" in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_audit_verify_finds_a_change(command: Command, tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    audit.record("sent", bytes=1)
    audit.record("sent", bytes=2)
    status, out, _ = command("audit", "verify", "--home", tmp_path)
    assert (status, "2 lines, unbroken" in out) == (0, True)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"bytes": 1', b'"bytes": 3'))
    status, _, error = command("audit", "verify", "--home", tmp_path)
    assert (status, "The log was changed" in error) == (1, True)


def test_an_empty_ledger_spent_nothing(command: Command, tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    status, out, _ = command("ledger", "--home", tmp_path)
    assert status == 0
    assert "ε = 0.000" in out


@pytest.mark.parametrize("hostile", ["a\x1b[31mb", "a\nb", "a\u202eb", "[red]b[/red]"])
def test_the_ledger_shows_names_of_others_as_text(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    event = SampledGaussian(noise_multiplier=1.0, sampling_rate=0.1, steps=1)
    purpose = Purpose(bytes(32), hostile, bytes(32), hostile, 1)
    Ledger(tmp_path / "ledger.sqlite").reserve([b"p" * 32], event, purpose, Limits(9, 9, 1e-5))
    status, out, _ = command("ledger", "--home", tmp_path)
    assert status == 0
    assert all(line.isprintable() for line in out.split("\n"))
    assert out.count(printable(hostile)) == 2


def test_an_error_that_quotes_a_file_is_one_printable_line(command: Command, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('"a\\u001b[31m\\nb\\u202e" = 1\n' + MINIMAL)
    status, _, error = command("approve", study, "--home", tmp_path)
    assert (status, "expected a known key" in error) == (2, True)
    assert error.removesuffix("\n").isprintable()
