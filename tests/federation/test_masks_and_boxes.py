"""Segmentation and detection through the whole federation, on blobs in noise that every hospital draws for itself."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from client.dicom.archive import Counts
from client.images import Images, Split
from client.ledger import Ledger
from client.workbench import Prepared
from server.report.result import Result
from shared.layout import begin
from shared.reasons import Reason
from shared.study import Study, parse_study
from simulations.faults import LocalLink
from simulations.local import LocalFederation
from simulations.wards import found, site_of

STUDY = """
name = "blobs"
[task]
kind = "KIND"
labels = ["blob"]
OPTIONS
[input]
modalities = ["DX"]
size = [24, 24]
[model]
name = "MODEL"
[training]
rounds = 2
batch = 8
local_steps = STEPS
optimizer = "adam"
learning_rate = 0.02
augmentation = ["flip"]
[federation]
min_sites = 2
timeout_s = 60.0
max_images = 200
[privacy]
PRIVACY
[aggregation]
colluders = 0
[evaluation]
test = 0.3
validation = 0.2
views = 2
"""
OFF = 'mode = "off"'
LOCAL = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'
SMALL = {
    "segmentation": 'name = "unet"\n[model.options]\nlevels = 3\nwidth = 4',
    "detection": 'name = "retinanet"\n[model.options]\nlevels = 1\nwidth = 8\npyramid = 8\nanchor = 1.5',
}
NAMES = ("alder", "birch")
POLICY = '[privacy]\nleast = "off"\n[aggregation]\nmin_cohort = 2\ncolluders = 0\n[studies]\nask = false\n'
SIDE, PATIENTS = 24, 30


def study_of(kind: str, privacy: str = OFF, steps: int = 30, options: str = "") -> Study:
    text = STUDY.replace("KIND", kind).replace('name = "MODEL"', SMALL[kind]).replace("PRIVACY", privacy)
    if "distributed" in privacy:
        steps = 1
    return parse_study(text.replace("STEPS", str(steps)).replace("OPTIONS", options))


def blobs(kind: str, seed: int) -> Prepared:
    """One bright square a patient, but for every sixth: 6 to 9 pixels wide, in noise half as strong."""
    rng = np.random.default_rng(seed)
    pixels: NDArray[np.float32] = rng.random((PATIENTS, 1, SIDE, SIDE), np.float32) / np.float32(2)
    masks = np.zeros((PATIENTS, SIDE, SIDE), np.uint8)
    boxes = np.full((PATIENTS, 1, 5), -1, np.float32)
    for patient in range(PATIENTS):
        side, top, left = (int(value) for value in rng.integers([6, 1, 1], [10, 14, 14]))
        if patient % 6:
            place = slice(top, top + side), slice(left, left + side)
            pixels[patient, 0][place] += 0.5
            masks[patient][place] = 1
            boxes[patient, 0] = [0, top, left, top + side, left + side]
    split = np.repeat([Split.VALIDATION, Split.TEST, Split.TRAIN], [6, 8, PATIENTS - 14])
    keys = tuple(bytes([seed, patient]) * 16 for patient in range(PATIENTS))
    target = masks if kind == "segmentation" else boxes
    made = Images(pixels, target, np.arange(PATIENTS), keys, split)
    return Prepared(made, Counts(PATIENTS, PATIENTS, dict.fromkeys(Reason, 0)))


def run(folder: Path, study: Study) -> tuple[LocalFederation, Result, NDArray[np.float32]]:
    local = found(folder / "federation", NAMES, POLICY)
    sites = [site_of(local, name, blobs(study.task.kind, seed)) for seed, name in enumerate(NAMES)]
    outcome, result = local.run(LocalLink(sites), study)
    assert (result.status, result.because) == ("finished", "")
    assert result.sites.contributed == (NAMES, NAMES)
    return local, result, outcome.checkpoint.state.weights


def test_a_federation_learns_where_blobs_are(tmp_path: Path) -> None:
    _, result, _ = run(tmp_path, study_of("segmentation"))
    assert result.judged is not None
    assert result.judged.images == 16
    dice, distance = result.judged.headline, result.judged.figure("hausdorff_95", "blob")
    assert dice.name == "dice"
    assert dice.value is not None
    assert dice.value > 0.85
    assert dice.low is not None
    assert dice.low < dice.value
    assert distance is not None
    assert distance.unit == "pixels"


def test_it_learns_from_patches_and_slides_a_window_over_the_whole(tmp_path: Path) -> None:
    _, result, _ = run(tmp_path, study_of("segmentation", options="[task.options]\npatch = 16"))
    assert result.judged is not None
    assert result.judged.headline.value is not None
    assert result.judged.headline.value > 0.8


def test_a_federation_learns_to_find_boxes(tmp_path: Path) -> None:
    _, result, _ = run(tmp_path, study_of("detection"))
    assert result.judged is not None
    assert result.judged.headline.name == "froc_score"
    assert result.judged.headline.value is not None
    assert result.judged.headline.value > 0.7
    drawn = result.judged.figure("drawn", "blob")
    assert drawn is not None
    assert drawn.value == 2 * 6  # of patients 6 to 13, two have none


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_it_trains_privately_and_pays_for_it(tmp_path: Path, kind: str, mode: str) -> None:
    study = study_of(kind, LOCAL.replace("local", mode), steps=2)
    local, result, weights = run(tmp_path, study)
    assert result.judged is not None
    assert result.judged.images == 16
    assert np.isfinite(weights).all()
    before = begin(study)[1]
    assert np.count_nonzero(weights != before) > before.size / 2, "it trained"
    for name in NAMES:
        spent = Ledger(local.home(name).path / "ledger.sqlite").epsilon(1e-5)
        assert spent == pytest.approx(8.0, abs=0.02)
