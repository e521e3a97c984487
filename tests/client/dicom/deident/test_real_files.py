"""Real files: whatever scanners and converters wrote, no original UID, name or number is in what leaves, and what
leaves can be read again and holds the same pixel data."""

import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset

from client.dicom.deident.engine import clean
from client.dicom.deident.export import encoded
from client.dicom.deident.profile import Profile
from client.dicom.deident.uids import mapped
from client.dicom.reasons import LeftOutError, Reason
from tests.client.dicom.deident.conftest import KEY, identifying, leaks

ARCHIVES = sorted((Path(__file__).parents[5] / "shared" / "data" / "dicom").glob("*.zip"))
#: Every how many-th file of an archive: neighbours are slices of one series.
STEP = 5


def treated(data: bytes, profile: Profile) -> Reason | None:
    """None after all checks; else why the file was left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = dcmread(io.BytesIO(data), force=True)
        try:
            output = encoded(clean(source, profile, key=KEY).dataset)
        except LeftOutError as left_out:
            return left_out.reason
        again = dcmread(io.BytesIO(output))
        compare(source, again)
        before = source.get("PixelData") or b""
        header = output.replace(again.get("PixelData") or b"", b"") if before else output
        assert leaks(header, identifying(source)) == []
    return None


def compare(source: Dataset, again: Dataset) -> None:
    assert again.SOPInstanceUID == mapped(source.SOPInstanceUID, KEY) == again.file_meta.MediaStorageSOPInstanceUID
    assert again.PatientIdentityRemoved == "YES"
    assert len(again.get("PixelData") or b"") == len(source.get("PixelData") or b"")
    for element in again.iterall():
        assert not element.tag.is_private
        assert element.VR != "PN" or str(element.value or "") in ("", "REMOVED")
    for keyword in ("Rows", "Columns", "BitsStored", "PhotometricInterpretation", "PixelSpacing", "ImageType"):
        assert again.get(keyword) == source.get(keyword), keyword


def members(archive: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(name for name in opened.namelist() if not name.endswith("/"))[::STEP]:
            data = opened.read(name)
            if data[128:132] == b"DICM":
                yield data


@pytest.mark.data
@pytest.mark.skipif(not ARCHIVES, reason="../shared/data/dicom is not here")
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
def test_real_archives(archive: Path) -> None:
    results = [treated(data, Profile()) for data in members(archive)]
    assert results.count(None) >= 0.9 * len(results) > 0


@pytest.mark.parametrize("options", [(), ("modified-dates", "descriptors", "structured-content")])
def test_pydicoms_own_files(options: tuple[str, ...]) -> None:
    files = [Path(name) for name in get_testdata_files() if Path(name).is_file()]
    whole = [file for file in files if file.stat().st_size < 1 << 20 and file.read_bytes()[128:132] == b"DICM"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = []
        for file in whole:
            try:
                results.append(treated(file.read_bytes(), Profile.of(*options)))
            except AssertionError as error:
                raise AssertionError(file.name) from error
    assert results.count(None) >= 100
