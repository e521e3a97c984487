"""Studies of images to images, whole: two hospitals on disk, masked, from DICOM to the figures; and new images drawn
from a model, as an archive that a study of another kind can use."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest

from server.coordinator import Outcome
from server.report.result import Result
from shared.layout import layout_for
from shared.study import Study, parse_study
from shared.weights import save_weights
from simulations.faults import LocalLink
from simulations.hospital import PROFILES, write_hospital
from simulations.local import LocalFederation
from simulations.synthesize import DESCRIPTION, synthesize

NAMES = ("alder", "birch")
STUDY = """
name = "images"
[task]
TASK
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
MODEL
[training]
rounds = ROUNDS
batch = 4
local_steps = STEPS
optimizer = "adam"
learning_rate = 0.005
[federation]
min_sites = 2
timeout_s = 20.0
max_images = 1000
[privacy]
PRIVACY
[aggregation]
colluders = 0
[evaluation]
test = 0.3
validation = 0.3
"""
LOCAL = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'
AUTOENCODER = "width = 4\nhalvings = 1\nlatent = 2\ngroups = 2"


def study_of(task: str, model: str, *, privacy: str = 'mode = "off"', rounds: int = 1, steps: int = 2) -> Study:
    words = {"TASK": task, "MODEL": model, "PRIVACY": privacy, "ROUNDS": str(rounds), "STEPS": str(steps)}
    text = STUDY
    for word, value in words.items():
        text = text.replace(word, value)
    return parse_study(text)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    archives = {name: folder / "archives" / name for name in NAMES}
    for seed, name in enumerate(NAMES):
        write_hospital(archives[name], patients=12, seed=seed, profile=PROFILES[name])
    LocalFederation.make(folder, archives, study_of('kind = "enhancement"', 'name = "restorer"'))
    return folder


@pytest.fixture
def local(template: Path, tmp_path: Path) -> LocalFederation:
    for part in ("federation", "sites"):
        shutil.copytree(template / part, tmp_path / part)
    return LocalFederation(tmp_path, NAMES)


def finished(local: LocalFederation, study: Study, out: str = "run") -> tuple[Outcome, Result]:
    outcome, result = local.run(LocalLink(local.sites()), study, out=out)
    assert (result.status, result.because) == ("finished", "")
    assert result.judged is not None
    assert result.judged.kind == study.task.kind
    return outcome, result


def figures(result: Result, names: Sequence[str]) -> list[float]:
    assert result.judged is not None
    found = [result.judged.figure(name) for name in names]
    values = [figure.value for figure in found if figure is not None and figure.value is not None]
    assert len(values) == len(names)
    return values


def saved(outcome: Outcome, study: Study) -> bytes:
    """As server/run.py writes it."""
    metadata = {"run": "images", "round": "1", "study": msgspec.json.encode(study).decode()}
    return save_weights(layout_for(study), outcome.checkpoint.best, metadata)


def test_noise_is_taken_off_without_a_label(local: LocalFederation) -> None:
    task = 'kind = "enhancement"\n[task.options]\nstrength = 0.2'
    study = study_of(task, 'name = "restorer"\n[model.options]\nwidth = 8\nblocks = 1', rounds=2, steps=40)
    _, result = finished(local, study)
    before, after, gain = figures(result, ["psnr_before", "psnr", "psnr_gain"])
    assert after > before + 1
    assert gain == pytest.approx(after - before, abs=1e-3)


def test_images_are_registered_privately(local: LocalFederation) -> None:
    task = 'kind = "registration"\n[task.options]\nspacing = 8'
    model = 'name = "voxelmorph"\n[model.options]\nwidth = 4\nlevels = 2\nintegration = 2'
    _, result = finished(local, study_of(task, model, privacy=LOCAL))
    before, after, folded = figures(result, ["target_error_before", "target_error", "folded"])
    assert before > 0.5
    assert after > 0
    assert 0 <= folded <= 1
    assert all(spent.epsilon_run is not None and 0 < spent.epsilon_run <= 8 for spent in result.privacy.values())


def test_a_private_generator_draws_an_archive_that_a_study_can_use(local: LocalFederation, tmp_path: Path) -> None:
    task = 'kind = "synthesis"\nlabels = ["clear", "nodule"]'
    model = 'name = "gan"\n[model.options]\nlatent = 4\nwidth = 4'
    study = study_of(task, model, privacy=LOCAL)
    outcome, result = finished(local, study)
    assert result.judged is not None
    assert result.judged.headline.value is not None
    (tmp_path / "model.safetensors").write_bytes(saved(outcome, study))
    assert synthesize(tmp_path / "model.safetensors", tmp_path / "drawn", count=6, seed=3) == 6
    found = [pydicom.dcmread(path) for path in sorted((tmp_path / "drawn").rglob("*.dcm"))]
    assert len({image.PatientID for image in found}) == 6
    assert {str(image.SeriesDescription) for image in found} == {DESCRIPTION}
    assert all(image.ImageType[0] == "DERIVED" for image in found)
    labels = (tmp_path / "drawn" / "labels.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[1] for line in labels) == ["clear"] * 3 + ["nodule"] * 3


def test_latents_of_one_run_are_diffused_by_another(local: LocalFederation, tmp_path: Path) -> None:
    rebuilding = study_of(
        'kind = "enhancement"\n[task.options]\ndegrade = "none"',
        f'name = "autoencoder"\n[model.options]\n{AUTOENCODER}',
    )
    outcome, result = finished(local, rebuilding)
    assert result.judged is not None
    assert [figure.name for figure in result.judged.figures] == ["psnr", "ssim", "squared_error"]
    data = saved(outcome, rebuilding)
    (tmp_path / "diffusing").mkdir()
    (tmp_path / "diffusing" / "latents.safetensors").write_bytes(data)
    start = f'init = "latents.safetensors"\ninit_sha256 = "{hashlib.sha256(data).hexdigest()}"'
    model = f'name = "diffusion"\nfrozen = ["autoencoder"]\n{start}\n[model.options]\n{AUTOENCODER}'
    study = study_of('kind = "synthesis"', f"{model}\nchannels = 4\nlevels = 2\nsteps = 3", steps=1)
    diffused, _ = finished(local, study, out="diffusing")
    layout = layout_for(study)
    pieces = layout.split(diffused.checkpoint.best)
    for name, tensor in layout_for(rebuilding).split(outcome.checkpoint.best).items():
        np.testing.assert_array_equal(pieces[name], tensor)
    assert layout.moving < layout.size
