"""Studies of volumes and of slices with neighbours, from CT series on disk to the result of a federation.

Two hospitals whose images are all alike but for one thing: whether slices brighten or darken towards the head. Instance
numbers say nothing of it, and one slice alone does not show it.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from client.dicom.writing import derived_uid
from client.images import Split
from client.ledger import Ledger
from client.steps import prepare_for
from server.report.result import Result
from shared.layout import begin
from shared.study import Study, parse_study
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from tests.client.dicom.archives import keep
from tests.client.dicom.geometry.series import line, series

STUDY = """
name = "volumes"
[task]
labels = ["down", "up"]
[input]
modalities = ["CT"]
window = [450, 900]
INPUT
[model]
name = "cnn"
[model.options]
blocks = 2
width = 4
hidden = 0
[training]
rounds = 1
batch = 5
local_steps = 20
optimizer = "adam"
learning_rate = 0.02
augmentation = ["flip"]
[federation]
min_sites = 2
timeout_s = 20.0
max_images = 200
[privacy]
PRIVACY
[aggregation]
colluders = 0
[evaluation]
test = 0.3
validation = 0.2
views = 2
per_site = true
"""
INPUTS = {
    "volume": 'kind = "volume"\nsize = [8, 8, 8]',
    "volume of fixed voxels": 'kind = "volume"\nsize = [8, 8, 8]\nspacing = [1, 0.5, 0.5]',
    "stack": 'kind = "stack"\nsize = [8, 8]\nneighbours = 1',
}
OFF = 'mode = "off"'
LOCAL = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'
NAMES = ("alder", "birch")
PATIENTS, SLICES = 10, 8


def study_of(kind: str, privacy: str = OFF) -> Study:
    return parse_study(STUDY.replace("INPUT", INPUTS[kind]).replace("PRIVACY", privacy))


def write_archive(folder: Path) -> None:
    """Ten patients with a CT series each, and one patient more whose series lacks a slice."""
    rows = ["series_instance_uid,label"]
    for number in range(PATIENTS + 1):
        name, up = f"{folder.name} {number}", number % 2
        places = line(SLICES, 0.5)[:: 1 if up else -1]
        if number == PATIENTS:
            del places[3]
        keep(folder, series(places, Rows=8, Columns=8), series=name, PatientID=f"PAT-{number}")
        rows.append(f"{derived_uid('test', 'series', name)},{('down', 'up')[up]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    for number, name in enumerate(NAMES):
        write_archive(folder / "archives" / name)
        keys = folder / "sites" / name / "keys"  # chosen, for they decide who is held out
        keys.mkdir(parents=True)
        (keys / "archive.key").write_bytes(bytes([number]) * 32)
    LocalFederation.make(folder, {name: folder / "archives" / name for name in NAMES}, study_of("volume"))
    return folder


@pytest.fixture
def local(template: Path, tmp_path: Path) -> LocalFederation:
    for part in ("federation", "sites"):
        shutil.copytree(template / part, tmp_path / part)
    return LocalFederation(tmp_path, NAMES)
