"""Three real hospitals on disk: DICOM archives, homes, keys, a signed roster; and a study small enough for seconds."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.study import Study, parse_study
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation

STUDY = """
name = "tiny"
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
rounds = 2
batch = 4
local_steps = 2
learning_rate = 0.05
[federation]
min_sites = 2
timeout_s = 5.0
max_images = 1000
[privacy]
mode = "off"
[aggregation]
colluders = 0
[evaluation]
test = 0.3
validation = 0.3
per_site = true
"""
PRIVATE = STUDY.replace('mode = "off"', 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5')
DISTRIBUTED = PRIVATE.replace('mode = "local"', 'mode = "distributed"').replace("local_steps = 2", "local_steps = 1")
NAMES = ("alder", "birch", "cedar")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("federation")
    archives = {name: folder / "archives" / name for name in NAMES}
    for seed, name in enumerate(NAMES):
        write_hospital(archives[name], patients=14, seed=seed, profile=PROFILES[name])
    LocalFederation.make(folder, archives, parse_study(STUDY))
    return folder


@pytest.fixture
def local(template: Path, tmp_path: Path) -> LocalFederation:
    for part in ("federation", "sites"):
        shutil.copytree(template / part, tmp_path / part)
    return LocalFederation(tmp_path, NAMES)


@pytest.fixture
def study() -> Study:
    return parse_study(STUDY)


@pytest.fixture
def private() -> Study:
    return parse_study(PRIVATE)


@pytest.fixture
def distributed() -> Study:
    return parse_study(DISTRIBUTED)


@pytest.fixture
def changed() -> Callable[[str, str], Study]:
    return lambda old, new: parse_study(STUDY.replace(old, new))
