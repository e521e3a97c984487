import csv
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from scipy.ndimage import binary_dilation

from client.dicom.archive import prepare
from client.dicom.reasons import Reason
from client.images import Images
from shared.errors import InputError
from shared.study import Input
from shared.tasks.base import Target
from simulations import hospital
from simulations.hospital import COLUMNS, PROFILES, write_hospital
from tests.client.dicom.archives import study_of

KEY = b"k" * 32
SPEC = Input(modalities=("CR", "DX"), size=(32, 32))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", PROFILES)
def test_same_seed_same_bytes_of_every_file(tmp_path: Path, name: str) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_hospital(tmp_path / folder, patients=2, seed=seed, profile=PROFILES[name])
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & (set(digests(tmp_path / "c").values()) - notes(tmp_path / "a"))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


def notes(folder: Path) -> set[str]:
    return {digest for name, digest in digests(folder).items() if name.endswith(".txt")}


def test_how_many_processes_write_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PROFILES["alder"], matrix=(32, 32))
    write_hospital(tmp_path / "alone", patients=3, seed=1, profile=small)
    monkeypatch.setattr(hospital, "ALONE", 1)
    write_hospital(tmp_path / "together", patients=3, seed=1, profile=small)
    assert digests(tmp_path / "alone") == digests(tmp_path / "together")


@pytest.mark.parametrize("name", PROFILES)
def test_headers_say_what_the_profile_says(tmp_path: Path, name: str) -> None:
    profile = PROFILES[name]
    write_hospital(tmp_path / "out", patients=1, seed=1, profile=profile)
    dataset = dcmread(next(iter(sorted((tmp_path / "out").rglob("IM*.dcm")))))
    assert dataset.file_meta.TransferSyntaxUID == profile.syntax
    assert (dataset.Rows, dataset.Columns) == profile.matrix
    assert tuple(dataset.PixelSpacing) == profile.spacing_mm
    assert (dataset.BitsStored, dataset.PhotometricInterpretation) == (profile.bits_stored, profile.photometric)
    assert dataset.pixel_array.max() < 2**profile.bits_stored


def test_what_archives_really_hold(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[tuple[int, int]] = []
    write_hospital(out, patients=8, seed=5, profile=PROFILES["birch"], progress=lambda *done: seen.append(done))
    assert seen == [(done, 8) for done in range(1, 9)]
    with (out / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    images, counts = prepare(
        out,
        out / "labels.csv",
        tmp_path / "home",
        key=KEY,
        study=study_of(SPEC),
    )
    assert {reason: count for reason, count in counts.skipped.items() if count} == {
        Reason.NOT_DICOM: 1,
        Reason.TRUNCATED: 1,
        Reason.LOCALIZER: 1,
        Reason.DUPLICATE: 2,
        Reason.NO_LABEL: 1,
    }
    assert counts.usable == len(rows) - 1  # the truncated file has a label, too
    assert len(images.keys) == 8
    assert Counter(row["label"] for row in rows[:-1]) == Counter(("clear", "nodule")[label] for label in images.target)


def test_four_scanners_one_polarity_and_contrast(tmp_path: Path) -> None:
    means = []
    for name, profile in PROFILES.items():
        out = tmp_path / name
        write_hospital(out, patients=6, seed=3, profile=profile)
        images, _ = prepare(
            out,
            out / "labels.csv",
            tmp_path / "home",
            key=KEY,
            study=study_of(SPEC),
        )
        means.append(images.tensors(np.arange(len(images.target))).mean(axis=(0, 1)))
    for mean in means:
        assert np.corrcoef(mean.ravel(), means[0].ravel())[0, 1] > 0.8  # matrices are cut differently
        lung, spine = mean[12:18, 8:11].mean(), mean[12:18, 15:17].mean()
        assert lung < 0.45
        assert spine > 0.6


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="a new or an empty folder"):
        write_hospital(tmp_path / "out", patients=1, seed=1, profile=PROFILES["alder"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_nothing_half_written(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_hospital(tmp_path / "out", patients=2, seed=1, profile=PROFILES["alder"], progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("known") / "out"
    write_hospital(out, patients=8, seed=2, profile=replace(PROFILES["alder"], prevalence=0.7))
    return out


class TestWhatIsKnown:
    """Of every image a label, a value, findings by side, a mask and boxes, all of one pose."""

    def ready(self, archive: Path, target: Target, *labels: str) -> Images:
        study = study_of(Input(modalities=("CR", "DX"), size=(96, 96)), labels)
        home = archive.parent / "home"
        images, counts = prepare(archive, archive / "labels.csv", home, key=KEY, study=study, target=target)
        assert counts.skipped[Reason.NOT_DICOM] == 1  # the note; masks are the table's
        assert counts.skipped[Reason.NO_LABEL] == 1
        return images

    def test_masks_lie_on_what_is_brighter_than_its_surroundings(self, archive: Path) -> None:
        images = self.ready(archive, "mask", "nodule")
        brighter = []
        for pixels, mask in zip(images.tensors(np.arange(len(images.target)))[:, 0], images.target, strict=True):
            if mask.any():
                ring = binary_dilation(mask, iterations=4) & ~binary_dilation(mask, iterations=1)
                brighter.append(float(pixels[mask == 1].mean() - pixels[ring].mean()))
        assert len(brighter) >= 6
        assert min(brighter) > 0.02

    def test_boxes_are_those_of_the_masks(self, archive: Path) -> None:
        masks, boxes = self.ready(archive, "mask", "nodule").target, self.ready(archive, "boxes", "nodule").target
        for mask, rows in zip(masks, boxes, strict=True):
            covered = np.zeros(mask.shape, bool)
            for _, top, left, bottom, right in rows[rows[:, 0] >= 0]:
                covered[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
            assert covered[mask == 1].all()
            assert bool(mask.any()) == bool((rows[:, 0] >= 0).any())

    def test_the_patient_s_left_is_on_the_image_s_right(self, archive: Path) -> None:
        masks = self.ready(archive, "mask", "nodule").target.astype(bool)
        sides = self.ready(archive, "classes", "nodule left", "nodule right").target
        seen = np.stack([masks[:, :, 48:].any(axis=(1, 2)), masks[:, :, :48].any(axis=(1, 2))], axis=1)
        assert np.array_equal(sides.astype(bool), seen)
        assert sides.any(axis=0).all()

    def test_counts_and_sizes_are_values(self, archive: Path) -> None:
        count, size = self.ready(archive, "value", "nodules").target, self.ready(archive, "value", "diameter_mm").target
        label = self.ready(archive, "class", "clear", "nodule").target
        assert np.array_equal(count.astype(bool), label == 1)
        assert np.array_equal(size.astype(bool), label == 1)
        ages = self.ready(archive, "value", "age").target.astype(int)
        assert ((ages >= 18) & (ages <= 110)).all()
