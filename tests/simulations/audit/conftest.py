"""One finished private run, as `konsil-simulate run` leaves it, small enough for seconds."""

from pathlib import Path

import pytest

from server.run import conduct, open_run
from shared.study import parse_study
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation, Recorder

STUDY = """
name = "small"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [8, 8]
[model]
name = "cnn"
[model.options]
width = 4
hidden = 4
[training]
rounds = 3
batch = 4
local_steps = 1
learning_rate = 0.05
[federation]
min_sites = 2
max_images = 1000
[privacy]
mode = "distributed"
epsilon = 8.0
delta = 1e-5
clip = 0.5
sampling_rate = 0.5
[aggregation]
colluders = 0
[evaluation]
test = 0.3
validation = 0.2
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    archives = {name: folder / "archives" / name for name in ("alder", "birch")}
    for seed, (name, archive) in enumerate(archives.items()):
        write_hospital(archive, patients=16, seed=seed, profile=PROFILES[name])
    study = parse_study(STUDY)
    local = LocalFederation.make(folder, archives, study)
    conduct(open_run(folder, study, resume=False), LocalLink(local.sites()), local.federation, Recorder())
    (folder / "study.toml").write_text(STUDY)
    return folder
