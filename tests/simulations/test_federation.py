"""`konsil-simulate run` as its user runs it: Flower's engine, Ray's processes, a kill, a resume, baselines."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client.ledger import Ledger
from server.report.result import Result, read_result
from simulations.hospital import PROFILES, write_hospital

NAMES = ("alder", "birch", "cedar")
STUDY = """
name = "killed"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
name = "cnn"
[model.options]
width = 4
hidden = 4
[training]
rounds = 5
batch = 4
local_steps = 1
learning_rate = 0.05
[federation]
min_sites = 2
timeout_s = 60.0
max_images = 1000
[privacy]
mode = "local"
epsilon = 4.0
delta = 1e-5
clip = 1.0
sampling_rate = 0.5
[evaluation]
test = 0.3
validation = 0.3
per_site = true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulation")
    (root / "study.toml").write_text(STUDY)
    for seed, name in enumerate(NAMES):
        write_hospital(root / name, patients=14, seed=seed, profile=PROFILES[name])
    return root


def command(folder: Path, *extra: str) -> list[str]:
    sites = [part for name in NAMES for part in ("--site", f"{name}={folder / name}")]
    tool = Path(sys.executable).with_name("konsil-simulate")
    return [str(tool), "run", str(folder / "study.toml"), *sites, "--out", str(folder / "out"), *extra]


def result(folder: Path) -> Result:
    return read_result(folder / "out" / "result.json")


def test_a_run_killed_between_rounds_goes_on_and_no_epsilon_is_lost(folder: Path) -> None:
    with subprocess.Popen(
        command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as child:
        deadline = time.monotonic() + 120
        while not list((folder / "out" / "checkpoints").glob("*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)
    assert not (folder / "out" / "result.json").exists(), "a killed run never looks like one that finished"
    done = subprocess.run(command(folder, "--resume", "--baselines"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = result(folder)
    assert found.status == "finished"
    assert [row.round for row in found.rounds.each] == [1, 2, 3, 4, 5]
    for name in NAMES:
        trained = sum(name in row.trained for row in found.rounds.each)
        events = Ledger(folder / "out" / "sites" / name / "ledger.sqlite").events(found.run)
        assert len(events) >= trained
        assert found.privacy[name].epsilon_run == Ledger(folder / "out" / "sites" / name / "ledger.sqlite").epsilon(
            1e-5, run=found.run
        )


def test_the_result_says_everything_it_must(folder: Path) -> None:
    found = result(folder)
    assert found.sites.expected == NAMES
    assert found.metrics is not None
    assert found.baselines is not None
    assert set(found.baselines.alone) == set(NAMES)
    assert found.baselines.pooled is not None
    assert all(private.epsilon_run is not None and private.epsilon_run <= 8.0 for private in found.privacy.values())
    assert found.rounds.bytes_up > found.rounds.count * len(NAMES) * 4
    page = (folder / "out" / "report.html").read_text("utf-8")
    assert all(name in page for name in NAMES)


def test_a_finished_run_is_not_run_over(folder: Path) -> None:
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--resume or another --out" in done.stderr
