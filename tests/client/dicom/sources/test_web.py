"""A DICOMweb server: Orthanc's, and some that mean harm."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from pydicom.dataset import Dataset

from client.dicom.sources.config import Filter
from client.dicom.sources.journal import Journal
from client.dicom.sources.store import Store
from client.dicom.sources.web import WebSource
from tests.client.dicom.sources.peers import IMAGES, WEB_PLUGIN, Peer, files
from tests.client.dicom.sources.pulls import go
from tests.client.dicom.sources.pulls import web as source

Encode = Callable[[Dataset], bytes]


# A real one.


@pytest.fixture
def orthanc(orthanc_peer: Peer, store: Store) -> Callable[..., WebSource]:
    if not WEB_PLUGIN.exists():
        pytest.skip("needs Orthanc's DICOMweb plugin (Debian: orthanc-dicomweb)")
    (store.folder.parent / "password").write_text("secret\n")
    url = f"http://127.0.0.1:{orthanc_peer.http_port}/dicom-web"
    return lambda **options: source(url, store, user="konsil", password_file="password", **options)


@pytest.mark.parametrize("page", [1, 2, 100])
def test_all_of_it_and_then_only_what_is_missing(
    orthanc: Callable[..., WebSource], store: Store, journal: Journal, page: int
) -> None:
    web = orthanc(page=page)
    report = go(web, store, journal)
    assert (report.series, report.received, report.whole) == (4, 10, True)
    files(store)[0].unlink()
    report = go(web, store, journal)
    assert (report.here, report.received, report.whole) == (9, 1, True)
    assert len(files(store)) == 10


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"modalities": ("MR",)}, {("PAT-A", "MR")}),
        ({"study_from": date(2021, 1, 1)}, {("PAT-A", "MR")}),
        ({"description": "MR*"}, {("PAT-A", "MR")}),
        ({"patients": "list.txt"}, {("PAT-B", "CT")}),
    ],
)
def test_the_filter(
    orthanc: Callable[..., WebSource], store: Store, asked: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    (store.folder.parent / "list.txt").write_text("PAT-B\n")
    found = {series.uid for series in orthanc(filter=Filter(**asked)).series()}
    assert found == {one.SeriesInstanceUID for one in IMAGES if (one.PatientID, one.Modality) in expected}


def test_the_same_object_by_dimse_and_by_web_is_one_file(
    orthanc: Callable[..., WebSource], store: Store, journal: Journal, encoded: Encode
) -> None:
    go(orthanc(), store, journal)
    assert all(store.keep([path.read_bytes()]).again for path in files(store))
    assert len(files(store)) == 10


def test_a_wrong_password_is_said(orthanc: Callable[..., WebSource], store: Store, journal: Journal) -> None:
    (store.folder.parent / "password").write_text("wrong")
    report = go(orthanc(), store, journal)
    assert "DICOMweb" in report.trouble
    assert "wrong" not in report.trouble
