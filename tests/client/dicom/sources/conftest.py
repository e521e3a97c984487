"""Peers started once for all tests of this folder, and a store of its own for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from client.dicom.sources.journal import Journal
from client.dicom.sources.store import Store
from client.dicom.writing import write_object
from tests.client.dicom.sources.peers import KEY, Peer, started


@pytest.fixture(scope="session")
def qrscp_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    yield from started("qrscp", tmp_path_factory.mktemp("qrscp"))


@pytest.fixture(scope="session")
def dcmqrscp_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    yield from started("dcmqrscp", tmp_path_factory.mktemp("dcmqrscp"))


@pytest.fixture(scope="session")
def orthanc_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    yield from started("orthanc", tmp_path_factory.mktemp("orthanc"))


@pytest.fixture(params=["qrscp", "dcmqrscp", "orthanc"])
def peer(request: pytest.FixtureRequest) -> Peer:
    """Each PACS in turn."""
    found: Peer = request.getfixturevalue(f"{request.param}_peer")
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "received", KEY, floor=0)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "sources.sqlite", KEY) as journal:
        yield journal


@pytest.fixture
def encoded(tmp_path: Path) -> Callable[[Dataset], bytes]:
    """A DICOM file's bytes."""

    def encode(dataset: Dataset) -> bytes:
        write_object(tmp_path / "encoded.dcm", dataset)
        return (tmp_path / "encoded.dcm").read_bytes()

    return encode
