"""New images from a model on disk: what is written, and what is refused."""

import csv
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from PIL import Image
from typer.testing import CliRunner

from client.dicom.dicomize import dicomize
from shared.errors import InputError
from shared.network import network_of
from shared.parameters import layout_of, to_vector
from shared.study import MINIMAL, Study, parse_study, read_study
from shared.weights import save_weights
from simulations.cli import app
from simulations.synthesize import BATCH, DESCRIPTION, UNBOUNDED, WARNING, promise_of, synthesize

STUDIES = Path(__file__).parents[1] / "shared" / "tasks" / "studies"
CLASSES = STUDIES / "synthesis-gan-classes.toml"
PRIVATE = 'mode = "local"\nepsilon = 8.0\ndelta = 1e-5\nclip = 1.0\nsampling_rate = 0.5'


def model_of(study: Study, folder: Path) -> Path:
    """As a run leaves it."""
    module = network_of(study)
    metadata = {"run": "some", "round": "1", "study": msgspec.json.encode(study).decode()}
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(save_weights(layout_of(module), to_vector(module), metadata))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_of(read_study(CLASSES), tmp_path / "run")


def test_arrays_and_pictures_are_the_same_images(model: Path, tmp_path: Path) -> None:
    assert synthesize(model, tmp_path / "drawn.npz", count=5, form="npz") == 5
    synthesize(model, tmp_path / "png", count=5, form="png")
    with np.load(tmp_path / "drawn.npz", allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert images.shape == (5, 16, 16)
    assert images.dtype == np.uint8
    assert labels.tolist() == ["clear", "nodule", "clear", "nodule", "clear"]
    with (tmp_path / "png" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == labels.tolist()
    for row, image in zip(rows, images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "png" / row["image"])), image)


def test_the_archive_is_that_of_the_arrays_and_says_what_it_is(model: Path, tmp_path: Path) -> None:
    synthesize(model, tmp_path / "drawn", count=3, seed=4)
    synthesize(model, tmp_path / "drawn.npz", count=3, seed=4, form="npz")
    dicomize(tmp_path / "drawn.npz", None, tmp_path / "plain")
    found = [pydicom.dcmread(path) for path in sorted((tmp_path / "drawn").rglob("*.dcm"))]
    plain = [pydicom.dcmread(path) for path in sorted((tmp_path / "plain").rglob("*.dcm"))]
    assert [image.PixelData for image in found] == [image.PixelData for image in plain]
    assert {str(image.SeriesDescription) for image in found} == {UNBOUNDED}
    assert all(list(image.ImageType) == ["DERIVED", "SECONDARY"] for image in found)
    assert all("SeriesDescription" not in image for image in plain)


def test_colour_and_no_labels(tmp_path: Path) -> None:
    text = (STUDIES / "synthesis-gan.toml").read_text().replace("size = [16, 16]", "size = [16, 16]\ncolor = true")
    synthesize(model_of(parse_study(text), tmp_path / "run"), tmp_path / "drawn.npz", count=2, form="npz")
    with np.load(tmp_path / "drawn.npz", allow_pickle=False) as arrays:
        assert arrays["images"].shape == (2, 16, 16, 3)
        assert set(arrays["labels"].tolist()) == {"synthetic"}


def test_more_images_than_a_batch_go_on_as_they_began(model: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    synthesize(model, tmp_path / "many.npz", count=BATCH + 1, form="npz", progress=lambda done, _: seen.append(done))
    synthesize(model, tmp_path / "few.npz", count=2, form="npz")
    with np.load(tmp_path / "many.npz") as many, np.load(tmp_path / "few.npz") as few:
        assert np.abs(many["images"][:2].astype(int) - few["images"]).max() <= 1
        assert len({image.tobytes() for image in many["images"]}) == BATCH + 1
    assert seen == [BATCH, BATCH + 1]


@pytest.fixture
def private(tmp_path: Path) -> Path:
    text = CLASSES.read_text().replace('mode = "off"', PRIVATE)
    return model_of(parse_study(text), tmp_path / "private")


def test_what_bounds_the_images_stands_beside_them(model: Path, private: Path, tmp_path: Path) -> None:
    told: list[str] = []
    for name, run, promise in (
        ("off", model, "none: may resemble a patient"),
        ("on", private, "epsilon 8, delta 1e-05 per patient"),
    ):
        synthesize(run, tmp_path / f"{name}.npz", count=2, form="npz", warn=told.append)
        with np.load(tmp_path / f"{name}.npz", allow_pickle=False) as arrays:
            assert str(arrays["privacy"]) == promise
        for form in ("png", "dicom"):
            synthesize(run, tmp_path / f"{name}-{form}", count=2, form=form)
            with (tmp_path / f"{name}-{form}" / "labels.csv").open(newline="") as file:
                assert [row["privacy"] for row in csv.DictReader(file)] == [promise, promise]
    assert told == [WARNING]
    (first, *_) = sorted((tmp_path / "on-dicom").rglob("*.dcm"))
    assert pydicom.dcmread(first).SeriesDescription == DESCRIPTION


def test_weights_from_elsewhere_are_not_in_the_promise() -> None:
    begun = '[model]\ninit = "a.safetensors"\ninit_sha256 = "' + "0" * 64 + '"'
    study = parse_study(CLASSES.read_text().replace('mode = "off"', PRIVATE).replace("[model]", begun))
    assert promise_of(study) == "epsilon 8, delta 1e-05 per patient, the weights it began with not counted"


def test_another_kind_of_model_and_a_place_that_is_taken_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="expected a new name"):
        synthesize(model, tmp_path / "taken", count=1)
    with pytest.raises(InputError, match=r'task\.kind "synthesis"'):
        synthesize(model_of(parse_study(MINIMAL), tmp_path / "other"), tmp_path / "drawn", count=1)
    with pytest.raises(InputError, match="expected a model"):
        synthesize(tmp_path / "taken", tmp_path / "drawn", count=1)


def test_the_command_draws(model: Path, tmp_path: Path) -> None:
    command = ["synthesize", str(model), "--count", "2", "--out", str(tmp_path / "drawn"), "--form", "png"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["000000.png", "000001.png", "labels.csv"]
    assert f"warning: {WARNING}" in found.stderr
    assert "warning" not in found.stdout


def test_the_command_warns_of_no_model_with_privacy(private: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["synthesize", str(private), "--count", "1", "--out", str(tmp_path / "drawn")])
    assert found.exit_code == 0, found.output
    assert "warning" not in found.output
