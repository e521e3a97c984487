"""An archive of drawn CT, read back by the scan and the decoder that every archive meets."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from scipy.ndimage import binary_erosion

from client.dicom.archive import Counts, prepare
from client.dicom.labels.polygons import fill
from client.dicom.reasons import Reason
from client.images import Images
from shared.study import Input
from shared.tasks.base import Target
from simulations.ct import hospital
from simulations.ct.hospital import COLUMNS, LABELS, write_ct_hospital
from simulations.ct.structures import outlines
from simulations.profiles import PROFILES, Profile
from tests.client.dicom.archives import KEY, study_of

#: Of 0 to 1: −160 to 240 HU.
SPEC = Input(modalities=("CT",), kind="volume", size=(48, 44, 44), spacing=(5.0, 8.0, 8.0), window=(40.0, 400.0))
PATIENTS = 4
#: One of each kind of outline, with different slices, signs and padding.
NAMES = ("alder", "birch")


def small(name: str) -> Profile:
    """The hospital with fewer pixels and half as many slices: as quick as a test should be."""
    profile = PROFILES[name]
    return replace(profile, prevalence=0.5, ct=replace(profile.ct, matrix=48, step_mm=2 * profile.ct.step_mm))


def rows(archive: Path) -> list[dict[str, str]]:
    with (archive / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name in NAMES:
        made[name] = tmp_path_factory.mktemp(name) / "out"
        write_ct_hospital(made[name], patients=PATIENTS, seed=5, profile=small(name))
    return made


def ready(archive: Path, target: Target, *labels: str) -> tuple[Images, Counts]:
    study = study_of(SPEC, labels)
    return prepare(archive, archive / "labels.csv", archive.parent / "home", key=KEY, study=study, target=target)


@pytest.mark.parametrize("name", NAMES)
class TestReadBack:
    def test_every_series_is_a_volume_but_the_one_that_lost_a_slice(self, archives: dict[str, Path], name: str) -> None:
        images, counts = ready(archives[name], "class", *LABELS)
        assert len(images.target) == PATIENTS
        lost = len([*archives[name].rglob("*-00004?/SE000002/*.dcm")])
        skipped = {reason: count for reason, count in counts.skipped.items() if count}
        assert skipped == {Reason.LOCALIZER: PATIENTS + 1, Reason.MISSING_SLICES: lost}

    def test_headers_say_what_the_scanner_is(self, archives: dict[str, Path], name: str) -> None:
        scanner = small(name).ct
        first, second = (dcmread(path) for path in sorted(archives[name].rglob("*-00000?/SE000002/*.dcm"))[:2])
        apart = second.ImagePositionPatient[2] - first.ImagePositionPatient[2]
        assert apart == pytest.approx(scanner.step_mm if scanner.upwards else -scanner.step_mm)
        assert first.PixelSpacing[0] == pytest.approx(scanner.field_mm / scanner.matrix, abs=1e-3)
        assert (first.SliceThickness, first.RescaleIntercept) == (scanner.thickness_mm, scanner.intercept)
        assert bool(first.PixelRepresentation) == scanner.signed
        assert first.file_meta.TransferSyntaxUID == scanner.syntax
        assert first.get("PixelPaddingValue") == scanner.padding

    def test_the_outline_is_the_liver_in_the_image(self, archives: dict[str, Path], name: str) -> None:
        images, _ = ready(archives[name], "mask", "liver")
        pixels, masks = images.tensors(np.arange(PATIENTS))[:, 0], images.target == 1
        volumes = {row["liver_ml"] for row in rows(archives[name])[:PATIENTS]}
        assert sorted(float(mask.sum()) * 5 * 8 * 8 / 1000 for mask in masks) == pytest.approx(
            sorted(map(float, volumes)), rel=0.05
        )
        for volume, mask in zip(pixels, masks, strict=True):
            within = volume[binary_erosion(mask)]
            assert 0.48 < within.mean() < 0.75  # 35 to 140 HU
            assert within.std() < 0.06  # noise, and nothing else

    def test_who_is_said_to_have_an_effusion_has_the_fluid(self, archives: dict[str, Path], name: str) -> None:
        images, _ = ready(archives[name], "class", *LABELS)
        amount = ready(archives[name], "value", "effusion_ml")[0].target
        assert np.array_equal(np.asarray(images.target) == 1, np.asarray(amount) > 0)
        assert {row["label"] for row in rows(archives[name])} == set(LABELS)
        # behind the lungs, above the diaphragm, there is water in some and air in the others
        behind = [float(volume[26:32, 27:30].mean()) for volume in images.tensors(np.arange(PATIENTS))[:, 0]]
        wet = [value for value, label in zip(behind, images.target, strict=True) if label]
        dry = [value for value, label in zip(behind, images.target, strict=True) if not label]
        assert min(wet) > max(dry)


def test_the_segmentation_is_one_for_others_too(archives: dict[str, Path]) -> None:
    found = hd.seg.segread(archives["alder"] / "masks" / "00000.dcm")
    assert found.get_segment_description(1).segment_label == "liver"
    sources = [dcmread(path) for path in sorted((archives["alder"]).rglob("*-00000?/SE000002/*.dcm"))]
    shown = found.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in sources], assert_missing_frames_are_empty=True
    )
    ml = shown.sum() * small("alder").ct.step_mm * (360 / 48) ** 2 / 1000
    assert ml == pytest.approx(float(rows(archives["alder"])[0]["liver_ml"]), abs=0.5)


def test_same_seed_same_bytes_however_many_processes_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(small("alder"), ct=replace(small("alder").ct, matrix=16, step_mm=40.0))
    write_ct_hospital(tmp_path / "a", patients=2, seed=1, profile=tiny)
    write_ct_hospital(tmp_path / "other", patients=2, seed=2, profile=tiny)
    monkeypatch.setattr(hospital, "ALONE", 1)
    write_ct_hospital(tmp_path / "b", patients=2, seed=1, profile=tiny)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "other").values())
    with (tmp_path / "a" / "labels.csv").open() as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


@pytest.mark.parametrize(
    ("drawn", "polygons"),
    [
        (["..", ".."], 0),
        (["#"], 1),
        (["##.", "###"], 1),
        (["###", "#.#", "###"], 2),
        (["#.", ".#"], 1),
    ],
    ids=["nothing", "a pixel", "a corner", "a hole", "two that touch"],
)
def test_outlines_run_along_the_edges(drawn: list[str], polygons: int) -> None:
    mask = np.array([[pixel == "#" for pixel in line] for line in drawn])
    found = [*outlines(mask)]
    assert np.array_equal(fill(found, (mask.shape[0], mask.shape[1])), mask)
    assert len(found) >= polygons
    assert all(len(polygon) >= 4 for polygon in found)
