import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.dicom.archive import Counts, prepare
from client.dicom.reasons import Reason
from client.dicom.writing import derived_uid
from client.images import Images, Split
from shared.errors import InputError
from shared.study import Input
from tests.client.dicom.archives import study_of

Write = Callable[..., Path]

KEY = b"k" * 32
SPEC = Input(modalities=("DX",), size=(8, 8))


def ready(tmp_path: Path, **changes: Any) -> tuple[Images, Counts]:
    study = study_of(changes.pop("spec", SPEC), test=0.25, validation=0.25)
    return prepare(tmp_path / "archive", tmp_path / "labels.csv", tmp_path / "home", key=KEY, study=study, **changes)


@pytest.fixture
def archive(write: Write, tmp_path: Path) -> Path:
    """Twelve patients with two images each, all labelled by patient."""
    rng = np.random.default_rng(1)
    for number in range(24):
        pixels = rng.integers(0, 4000, (16, 16)).astype(np.uint16)
        write(f"{number}.dcm", number, pixels, PatientID=f"PAT-47{number // 2}")
    rows = (f"PAT-47{patient},{('clear', 'nodule')[patient % 2]}\n" for patient in range(12))
    (tmp_path / "labels.csv").write_text("patient_id,label\n" + "".join(rows))
    return tmp_path / "archive"


def test_patients_labels_and_parts(archive: Path, tmp_path: Path) -> None:
    images, counts = ready(tmp_path)
    assert counts.usable == len(images.target) == 24
    assert list(counts.skipped) == list(Reason)
    assert counts.files == 24
    assert len(images.keys) == len(images.split) == 12
    assert all(len(key) == 32 for key in images.keys)
    assert np.bincount(images.patient).tolist() == [2] * 12
    assert images.target.sum() == 12
    rows = np.concatenate([images.rows(split) for split in Split])
    assert sorted(rows) == list(range(24))
    assert images.pixels.shape == (24, 1, 8, 8)


def test_same_archive_same_arrays_and_nothing_decoded_again(archive: Path, tmp_path: Path) -> None:
    first, _ = ready(tmp_path)
    stages: list[str] = []
    second, _ = ready(tmp_path, progress=lambda stage, done, total: stages.append(stage))
    assert stages == []
    for name in ("pixels", "target", "patient", "split"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_a_patient_keeps_its_part_when_images_come_and_go(archive: Path, write: Write, tmp_path: Path) -> None:
    before, _ = ready(tmp_path)
    write("new.dcm", 99, PatientID="PAT-473")
    (archive / "0.dcm").unlink()
    after, counts = ready(tmp_path)
    assert counts.usable == 24
    parts = dict(zip(after.keys, after.split, strict=True))
    assert all(parts[key] == part for key, part in zip(before.keys, before.split, strict=True))


def test_files_may_move_without_being_decoded_again(archive: Path, tmp_path: Path) -> None:
    before, _ = ready(tmp_path)
    (archive / "moved").mkdir()
    for path in list(archive.glob("*.dcm")):
        path.rename(archive / "moved" / path.name)
    stages: list[str] = []
    after, _ = ready(tmp_path, progress=lambda stage, done, total: stages.append(stage))
    assert stages == ["scan"]
    assert np.array_equal(before.pixels, after.pixels)


def test_every_file_is_counted_once(archive: Path, write: Write, tmp_path: Path) -> None:
    write("ct.dcm", 50, Modality="CT")
    write("stranger.dcm", 51, PatientID="nobody")
    write("odd.dcm", 52, PatientID="PAT-odd")
    square = np.zeros((64, 64), dtype=np.uint16)
    garbled = write("garbled.dcm", 53, square, syntax="1.2.840.10008.1.2.4.90", PatientID="PAT-470")
    data = garbled.read_bytes()
    start = data.index(b"\xff\x4f\xff\x51")  # the start of the codestream (ISO 15444-1 A.4)
    garbled.write_bytes(data[: start + 4] + b"\0" * 40 + data[start + 44 :])
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("PAT-odd,unsure\n")
    for _ in range(2):  # decoded, then remembered
        _, counts = ready(tmp_path)
        assert {reason: count for reason, count in counts.skipped.items() if count} == {
            Reason.WRONG_MODALITY: 1,
            Reason.DECODE_FAILED: 1,
            Reason.NO_LABEL: 1,
            Reason.LABEL_NOT_IN_STUDY: 1,
        }
        assert counts.usable == 24


def test_no_identity_in_any_byte_of_home(archive: Path, tmp_path: Path) -> None:
    ready(tmp_path)
    secrets = [b"PAT-47", b"ACC-4711", b"Muster", b"Erika", derived_uid("test", "image", "1").encode()]
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        data = path.read_bytes() + str(path).encode()
        assert not [secret for secret in secrets if secret in data], path.name


def test_nothing_usable_says_why(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of 24 files: 24 not a modality of this study") as caught:
        ready(tmp_path, spec=Input(modalities=("MG",), size=(8, 8)))
    assert "PAT" not in str(caught.value)


def test_a_lost_cache_is_no_loss(archive: Path, tmp_path: Path) -> None:
    before, _ = ready(tmp_path)
    pixels = np.array(before.pixels)
    shutil.rmtree(tmp_path / "home")
    after, _ = ready(tmp_path)
    assert np.array_equal(pixels, after.pixels)
