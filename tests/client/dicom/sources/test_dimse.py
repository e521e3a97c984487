"""A PACS by DIMSE: pynetdicom's, dcmtk's and Orthanc's."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from client.dicom.sources.config import Filter, Listen
from client.dicom.sources.journal import Journal
from client.dicom.sources.listen import Listener
from client.dicom.sources.store import Store
from shared.errors import PeerError
from tests.client.dicom.sources.peers import IMAGES, Peer, files
from tests.client.dicom.sources.pulls import go
from tests.client.dicom.sources.pulls import pacs as source


def is_kept(store: Store, images: list[Dataset]) -> bool:
    """Whether exactly `images` are in the store, value by value: a PACS may write group lengths and aets of its own."""
    found = {dcmread(path).SOPInstanceUID: dcmread(path) for path in files(store)}
    same = all(
        found[one.SOPInstanceUID].PixelData == one.PixelData and found[one.SOPInstanceUID].PatientID == one.PatientID
        for one in images
        if one.SOPInstanceUID in found
    )
    return same and found.keys() == {one.SOPInstanceUID for one in images}


# Every real PACS.


def test_get_brings_all_of_it_and_then_only_what_is_missing(peer: Peer, store: Store, journal: Journal) -> None:
    pacs = source(peer.port, store)
    report = go(pacs, store, journal)
    assert (report.series, report.received, report.whole) == (4, 10, True)
    assert is_kept(store, IMAGES)
    files(store)[0].unlink()
    report = go(pacs, store, journal)
    assert (report.here, report.received, report.whole) == (9, 1, True)
    assert is_kept(store, IMAGES)


def test_move_brings_it_to_our_own_server(peer: Peer, store: Store, journal: Journal, tmp_path: Path) -> None:
    listen = Listen(host="127.0.0.1", port=peer.move_port, calling=("ARCHIVE",), peers=("127.0.0.1",))
    pacs = source(peer.port, store, retrieve="move", filter=Filter(modalities=("CT",)))
    with Listener(listen, store, tmp_path) as listener:
        report = go(pacs, store, journal)
        assert (report.series, report.received, report.whole) == (3, 8, True)
        files(store)[0].unlink()
        assert go(pacs, store, journal).received == 1
        assert listener.counts == {"kept": 9}
    assert is_kept(store, [one for one in IMAGES if one.Modality == "CT"])


def test_a_move_without_our_server_is_told(peer: Peer, store: Store, journal: Journal) -> None:
    report = go(source(peer.port, store, retrieve="move", filter=Filter(modalities=("MR",))), store, journal)
    assert (report.asked, report.received, report.failed) == (2, 0, 2)
    assert set(report.statuses) <= {"0xA702", "0xA801", "0xB000", "0xC000", "0x0000", "not sent"}
    assert sum(report.statuses.values()) == 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"modalities": ("MR",)}, {("PAT-A", "MR")}),
        ({"study_from": date(2021, 1, 1)}, {("PAT-A", "MR")}),
        ({"study_until": date(2020, 12, 31)}, {("PAT-A", "CT"), ("PAT-B", "CT")}),
        ({"description": "MR*"}, {("PAT-A", "MR")}),
        ({"patients": "list.txt"}, {("PAT-B", "CT")}),
        ({"accessions": "list.txt"}, set()),
    ],
)
def test_the_filter(peer: Peer, store: Store, asked: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    (store.folder.parent / "list.txt").write_text("PAT-B\n")
    pacs = source(peer.port, store, filter=Filter(**asked))
    if peer.kind == "qrscp" and "description" in asked:  # it does not know it, and leaves it out of its answers
        with pytest.raises(PeerError, match="leave that out of its filter"):
            list(pacs.series())
        return
    found = {series.uid for series in pacs.series()}
    pacs.close()
    assert found == {one.SeriesInstanceUID for one in IMAGES if (one.PatientID, one.Modality) in expected}
