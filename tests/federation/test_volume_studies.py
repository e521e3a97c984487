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
from client.workbench import prepare_for
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
    "image": "size = [8, 8]",
}
OFF = 'mode = "off"'
LOCAL = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'
NAMES = ("alder", "birch")
PATIENTS, SLICES = 10, 8
#: tensors of one patient
TENSORS = {"volume": 1, "volume of fixed voxels": 1, "stack": SLICES}
#: Decides who is held out: of either hospital 4 patients train, 2 validate, 4 test; as many go up as down.
KEY = b"\7" * 32
SPLITS = {"train": 8, "validation": 4, "test": 8}


def study_of(kind: str, privacy: str = OFF) -> Study:
    return parse_study(STUDY.replace("INPUT", INPUTS[kind]).replace("PRIVACY", privacy))


def write_archive(folder: Path) -> None:
    """Ten patients with a CT series each, and one patient more whose series lacks a slice in its middle."""
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
    for name in NAMES:
        write_archive(folder / "archives" / name)
        keys = folder / "sites" / name / "keys"
        keys.mkdir(parents=True)
        (keys / "archive.key").write_bytes(KEY)
    LocalFederation.make(folder, {name: folder / "archives" / name for name in NAMES}, study_of("volume"))
    return folder


@pytest.fixture
def local(template: Path, tmp_path: Path) -> LocalFederation:
    for part in ("federation", "sites"):
        shutil.copytree(template / part, tmp_path / part)
    return LocalFederation(tmp_path, NAMES)


def check_counts(result: Result, kind: str) -> None:
    """Every hospital and every file is in the result: the broken series, and nothing else, under its reason."""
    each, images = TENSORS[kind], result.sites.images
    assert (result.status, result.because) == ("finished", "")
    assert (result.sites.contributed, result.sites.left_out) == ((NAMES,), ())
    assert images.used == 2 * PATIENTS * each
    assert images.splits == {split: count * each for split, count in SPLITS.items()}
    assert images.skipped == {"missing_slices": 2 * (SLICES - 1)}
    own = {"used": PATIENTS * each, "missing_slices": SLICES - 1}
    assert images.per_site == dict.fromkeys(NAMES, own)


@pytest.mark.parametrize("kind", TENSORS)
def test_a_federation_learns_what_only_neighbouring_slices_show(local: LocalFederation, kind: str) -> None:
    _, result = local.run(LocalLink(local.sites()), study_of(kind))
    check_counts(result, kind)
    assert result.metrics is not None
    assert (result.metrics.n, result.metrics.positives) == (8 * TENSORS[kind], 4 * TENSORS[kind])
    assert result.metrics.stratified_auc == 1.0
    assert {site: found.n for site, found in result.metrics.sites.items()} == dict.fromkeys(NAMES, 4 * TENSORS[kind])


@pytest.mark.parametrize("kind", TENSORS)
def test_a_private_federation_trains_on_them_and_pays_for_it(local: LocalFederation, kind: str) -> None:
    study = study_of(kind, LOCAL)
    outcome, result = local.run(LocalLink(local.sites()), study)
    check_counts(result, kind)
    assert result.metrics is not None
    assert result.metrics.n == 8 * TENSORS[kind]
    before = begin(study)[1]
    assert outcome.checkpoint.state.weights.shape == before.shape
    assert np.count_nonzero(outcome.checkpoint.state.weights != before) > before.size / 2, "it trained"
    for name in NAMES:
        ledger = Ledger(local.home(name).path / "ledger.sqlite")
        assert len(ledger.events(result.run)) == 1
        assert result.privacy[name].epsilon_run == ledger.epsilon(1e-5) == pytest.approx(8.0, abs=0.01)


def test_single_slices_of_the_same_archives_show_nothing(local: LocalFederation) -> None:
    """And a series that makes no volume still gives images: no file is left out."""
    _, result = local.run(LocalLink(local.sites()), study_of("image"))
    assert result.sites.images.used == 2 * (PATIENTS * SLICES + SLICES - 1)
    assert result.sites.images.skipped == {}
    assert result.metrics is not None
    assert result.metrics.stratified_auc == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("kind", TENSORS)
def test_a_patients_tensors_lie_in_one_split(local: LocalFederation, kind: str) -> None:
    """The hospitals hold what the sums say, and both directions in every split."""
    for name in NAMES:
        images = prepare_for(local.home(name), study_of(kind)).images
        held = [images.rows(split) for split in Split]
        assert [2 * len(rows) for rows in held] == [count * TENSORS[kind] for count in SPLITS.values()]
        assert [images.target[rows].mean() for rows in held] == [0.5, 0.5, 0.5]
        owners = [set(images.patient[rows].tolist()) for rows in held]
        assert not (owners[0] & owners[1] or owners[1] & owners[2] or owners[0] & owners[2])
