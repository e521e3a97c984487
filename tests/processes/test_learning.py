"""What a data scientist does over real daemons: a study that begins with somebody's weights, a search for settings."""

import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from rich.console import Console

from client.ledger import Ledger
from server.history import History
from server.search.budget import spent_by
from shared.layout import layout_for
from shared.network import network_of
from shared.published import read_model
from shared.study import parse_study, read_study
from shared.supervise import script
from simulations.hospital import PROFILES, write_hospital
from simulations.processes import Processes, found, run_study, up
from simulations.sites import POLICY

if TYPE_CHECKING:
    from tests.processes.conftest import Network

NAMES = ("alder", "birch")
STUDY = """
name = "begun"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
name = "cnn"
trained = ["head"]
[model.options]
width = 16
hidden = 0
[training]
rounds = 1
batch = 4
local_steps = 1
learning_rate = 0.05
[federation]
min_sites = 2
max_images = 1000
[privacy]
mode = "local"
epsilon = 4.0
delta = 1e-5
clip = 1.0
sampling_rate = 0.5
[aggregation]
adversary = "semi-honest"
colluders = 0
[evaluation]
test = 0.3
validation = 0.3
"""
SPACE = "[training.learning_rate]\nlow = 0.01\nhigh = 1.0\nlog = true\n"
#: Bytes of the longest training answer of one hospital; its body's weights alone would be more.
LIGHT = 4_000


@pytest.fixture(scope="module")
def federation(network: "Network", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A coordinator and two hospitals, which need not be asked for studies that this coordinator has signed."""
    folder = tmp_path_factory.mktemp("learning")
    archives = {name: folder / "archives" / name for name in NAMES}
    for seed, name in enumerate(NAMES):
        write_hospital(archives[name], patients=14, seed=seed, profile=PROFILES[name])
    with network.inside() if os.geteuid() == 0 else nullcontext():
        federation = found(folder / "out", archives, tell=lambda _: None)
        signer = federation.coordinator.federation.operator.public.hex()
        for name in NAMES:
            (federation.site(name) / "policy.toml").write_text(POLICY.replace("ask = false", f'signers = ["{signer}"]'))
        with up(federation):
            yield federation


def test_a_study_that_begins_with_a_file_sends_its_head_alone(federation: Processes, tmp_path: Path) -> None:
    file, study = tmp_path / "theirs.pt", tmp_path / "study.toml"
    theirs = {f"encoder.{name}": tensor + 1 for name, tensor in network_of(parse_study(STUDY)).state_dict().items()}
    torch.save({"state_dict": theirs}, file)
    study.write_text(STUDY)
    said = federation.command(
        "konsil-server", "weights", file, "--study", study, "--out", tmp_path / "init.safetensors"
    )
    lines = "\n".join(line for line in said.splitlines() if line.startswith("init"))
    study.write_text(STUDY.replace('name = "cnn"', f'name = "cnn"\n{lines}'))
    assert run_study(federation, study, Console(file=io.StringIO())).status == "finished"
    run = History(federation.coordinator.history).runs()[0].run
    layout, model = layout_for(read_study(study)), read_model(federation.coordinator.models / run)
    weights = layout.split(model.weights)
    stays = [name for name in layout.names if not name.startswith("head")]
    assert all((weights[name] == theirs[f"encoder.{name}"].numpy()).all() for name in stays)
    assert not (weights["head.1.bias"] == theirs["encoder.head.1.bias"].numpy()).all()
    for name in NAMES:
        log = map(json.loads, (federation.site(name) / "audit.jsonl").read_text().splitlines())
        sent = {line["purpose"]: line["bytes"] for line in log if line["event"] == "sent"}
        assert sent["train"] < LIGHT < 4 * sum(weights[name].size for name in stays)


def test_a_search_that_was_killed_goes_on_and_every_trial_is_paid_for_once(
    federation: Processes, tmp_path: Path
) -> None:
    history, ours = History(federation.coordinator.history), ["sought-trial-1", "sought-trial-0"]
    (tmp_path / "study.toml").write_text(STUDY.replace('"begun"', '"sought"').replace('trained = ["head"]', ""))
    (tmp_path / "space.toml").write_text(SPACE)
    words = ("search", tmp_path / "study.toml", "--space", tmp_path / "space.toml", "--trials", "2")
    with subprocess.Popen([script("konsil-server"), *words], env=federation.env(), stdout=subprocess.DEVNULL) as first:
        until = time.monotonic() + 120
        while history.runs()[0].study != ours[1] and time.monotonic() < until:
            time.sleep(0.05)
        first.kill()
    said = federation.command("konsil-server", *words)
    assert "goes on with: run sought-trial-0" in said
    runs = [line for line in history.runs() if line.study.startswith("sought")]
    assert [(line.study, line.state) for line in runs] == [(name, "finished") for name in ours]
    tried = [read_study(federation.coordinator.runs / line.run / "study.toml") for line in runs]
    (best,) = (federation.coordinator.path / "searches").glob("sought-*/best.toml")
    assert spent_by([*tried, read_study(best)]) <= 4 * (1 + 1e-6)
    for name in NAMES:
        with closing(Ledger(federation.site(name) / "ledger.sqlite")) as ledger:
            assert [len(ledger.events(line.run)) for line in runs] == [1, 1]
