import csv
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from client.dicom.archive import prepare
from client.dicom.reasons import Reason
from shared.errors import InputError
from shared.study import Input
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
