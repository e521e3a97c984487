"""Archives as folders of de-identified objects."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import CTImageStorage

from client.dicom.deident.export import Export, Terms, export
from client.dicom.deident.profile import Profile
from client.dicom.reasons import Reason
from shared.errors import InputError
from tests.client.dicom.conftest import Write
from tests.client.dicom.deident.conftest import KEY, identifying, leaks

TERMS = Terms(Profile())
CT = {"SOPClassUID": CTImageStorage, "Modality": "CT"}


def run(archive: Path, out: Path, terms: Terms = TERMS) -> Export:
    return export(archive, out, terms, key=KEY)


def test_every_file_counts_once(write: Write, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    write("Muster/a.dcm", number=1, **CT)
    write("Muster/b.dcm", number=2, **CT)
    write("Muster/again.dcm", number=1, **CT)
    write("us.dcm", number=3, Modality="US")
    write("says so.dcm", number=5, **CT, BurnedInAnnotation="YES")
    (archive / "notes.txt").write_text("Muster")
    os.mkfifo(archive / "pipe")
    cut = write("cut.dcm", number=4, **CT)
    cut.write_bytes(cut.read_bytes()[:-4])
    shutil.copy(get_testdata_file("DICOMDIR") or "", archive / "DICOMDIR")
    result = run(archive, tmp_path / "out")
    assert result == Export(
        written=2,
        unclaimed=0,
        quarantined={Reason.BURNED_IN: 1, Reason.SUSPECTED_TEXT: 1},
        left_out={
            Reason.NOT_DICOM: 1,
            Reason.TRUNCATED: 1,
            Reason.NO_PIXELS: 1,
            Reason.DUPLICATE: 1,
            Reason.SPECIAL_FILE: 1,
        },
        swept=0,
    )
    assert result.files == 9


def test_names_say_nothing_and_the_order_is_that_of_new_uids(write: Write, tmp_path: Path) -> None:
    for number in range(1, 6):
        write(f"Muster{number}.dcm", number=number, **CT)
    run(tmp_path / "archive", tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*"))
    assert [file.name for file in files] == [f"IM{number:06d}.dcm" for number in range(1, 6)]
    uids = [dcmread(file).SOPInstanceUID for file in files]
    assert uids == sorted(uids)


def test_the_same_archive_gives_the_same_folder(write: Write, tmp_path: Path) -> None:
    write("a.dcm", number=1, **CT)
    write("b.dcm", number=2, **CT)
    run(tmp_path / "archive", tmp_path / "one")
    run(tmp_path / "archive", tmp_path / "two")
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert first == second


def test_members_of_zips_are_exported_too(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm", **CT)
    with zipfile.ZipFile(tmp_path / "Muster.zip", "w") as archive:
        archive.write(path, "Muster/Erika.dcm")
    assert run(tmp_path / "Muster.zip", tmp_path / "out").written == 1
    assert leaks((tmp_path / "out" / "IM000001.dcm").read_bytes(), ["Muster", "Erika"]) == []


def test_what_is_let_out_with_text_claims_nothing(write: Write, tmp_path: Path) -> None:
    write("us.dcm", number=1, Modality="US")
    result = run(tmp_path / "archive", tmp_path / "out", Terms(Profile(), allow_burned_in=True))
    assert (result.written, result.unclaimed, result.quarantined) == (1, 1, {})
    dataset = dcmread(tmp_path / "out" / "IM000001.dcm")
    assert dataset.PatientIdentityRemoved == "NO"
    assert "DeidentificationMethodCodeSequence" not in dataset


def test_suspected_text_is_quarantined(write: Write, tmp_path: Path) -> None:
    write("a.dcm", **CT)
    result = run(tmp_path / "archive", tmp_path / "out", Terms(Profile(), detect=lambda grey: bool(grey.any())))
    assert (result.written, result.quarantined) == (0, {Reason.SUSPECTED_TEXT: 1})


def test_a_folder_that_is_in_use_is_refused_and_left_alone(write: Write, tmp_path: Path) -> None:
    write("a.dcm", **CT)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(InputError, match="a new or an empty folder"):
        run(tmp_path / "archive", tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]


def test_without_dicom_files_nothing_appears(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "notes.txt").write_text("Muster")
    with pytest.raises(InputError, match="expected DICOM files"):
        run(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_failure_leaves_nothing_behind(write: Write, tmp_path: Path) -> None:
    write("a.dcm", number=1, **CT)
    write("b.dcm", number=2, **CT)
    calls = 0

    def fails(_grey: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "archive", tmp_path / "out", Terms(Profile(), detect=fails))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_progress_ends_at_the_number_of_files(write: Write, tmp_path: Path) -> None:
    write("a.dcm", number=1, **CT)
    write("b.dcm", number=2, **CT)
    steps: list[tuple[int, int]] = []
    export(tmp_path / "archive", tmp_path / "out", TERMS, key=KEY, progress=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 2), (2, 2)]


@pytest.mark.filterwarnings("ignore")
def test_pydicoms_own_files_keep_pixels_and_lose_identities(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    sources = []
    for number, name in enumerate(
        ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "ExplVR_BigEnd.dcm", "reportsi.dcm")
    ):
        sources.append(archive / f"{number}.dcm")
        shutil.copy(get_testdata_file(name) or "", sources[-1])
    assert export(archive, tmp_path / "out", Terms(Profile(), allow_burned_in=True), key=KEY).written == 5
    written = [dcmread(file) for file in sorted((tmp_path / "out").iterdir())]
    before = [dcmread(source) for source in sources]
    arrays = [dataset.pixel_array for dataset in before if "PixelData" in dataset]
    for dataset in written:
        if "PixelData" in dataset:
            assert any(np.array_equal(dataset.pixel_array, array) for array in arrays)
    values = set[str]().union(*map(identifying, before))
    for file in (tmp_path / "out").iterdir():
        assert leaks(file.read_bytes(), values) == []
