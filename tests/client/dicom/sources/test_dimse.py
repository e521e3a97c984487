"""A PACS by DIMSE: pynetdicom's, dcmtk's and Orthanc's, and some that mean harm."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.presentation import StoragePresentationContexts

from client.dicom.sources.config import Filter, Listen, Pacs, Tls
from client.dicom.sources.dimse import PacsSource
from client.dicom.sources.journal import Journal
from client.dicom.sources.links import FIND, GET, MOVE
from client.dicom.sources.listen import Listener
from client.dicom.sources.pull import PullReport, pull
from client.dicom.sources.store import Store
from shared.errors import PeerError
from tests.client.dicom.sources.certificates import Authority
from tests.client.dicom.sources.peers import IMAGES, Peer, files, image, uid

Handlers = list[Any]


def source(port: int, store: Store, **options: Any) -> PacsSource:
    usual: dict[str, Any] = {
        "name": "pacs", "host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE", "timeout_s": 10.0
    }  # fmt: skip
    return PacsSource(Pacs(**usual | options), store, store.folder.parent)


def go(source: PacsSource, store: Store, journal: Journal, attempts: int = 1) -> PullReport:
    report = pull(source, store, journal, attempts=attempts, pause_s=0.01)
    assert report.asked == report.here + report.received + report.failed
    return report


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


# One that means harm.


@pytest.fixture
def hostile() -> Iterator[Callable[[Handlers], int]]:
    """Starts a PACS with the given handlers; its port."""
    servers = []

    def start(handlers: Handlers, tls: ssl.SSLContext | None = None) -> int:
        entity = AE(ae_title="ARCHIVE")
        entity.supported_contexts = [build_context(service) for service in (FIND, MOVE, GET)]
        for context in StoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), scu_role=True, scp_role=True)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
        assert server is not None
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        for association in server.active_associations:
            association.abort()
        server.shutdown()


def row(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def finding(images: list[Dataset]) -> Callable[[Any], Iterator[tuple[int, Dataset | None]]]:
    """A C-FIND handler over `images` that knows the levels and ignores every key but UIDs."""

    def handle(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        level = event.identifier.QueryRetrieveLevel
        key = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[level]
        above = {"STUDY": (), "SERIES": ("StudyInstanceUID",), "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID")}
        given = [one for one in images if all(one[name].value == event.identifier[name].value for name in above[level])]
        for value in dict.fromkeys(str(one[key].value) for one in given):
            first = next(one for one in given if str(one[key].value) == value)
            yield (
                0xFF00,
                row(
                    **{key: value},
                    PatientID=first.PatientID,
                    Modality=first.Modality,
                    SOPClassUID=first.SOPClassUID,
                ),
            )

    return handle


def getting(images: list[Dataset]) -> Callable[[Any], Iterator[Any]]:
    def handle(_: Any) -> Iterator[Any]:
        yield len(images)
        for one in images:
            yield 0xFF00, one

    return handle


def test_a_pacs_that_ignores_the_filter_gives_us_no_other_patient(
    hostile: Callable[[Handlers], int], store: Store
) -> None:
    port = hostile([(evt.EVT_C_FIND, finding(IMAGES))])
    (store.folder.parent / "list.txt").write_text("PAT-B\n")
    pacs = source(port, store, filter=Filter(patients="list.txt", modalities=("CT",)))
    assert [series.uid for series in pacs.series()] == [IMAGES[-1].SeriesInstanceUID]
    pacs.close()


@pytest.mark.parametrize("climbing", ["../../x", "1.2/../x", ""])
def test_a_uid_that_is_none_is_counted_and_never_asked_for(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal, climbing: str
) -> None:
    bad = image("PAT-C", "1", 1)
    bad.StudyInstanceUID = climbing  # type: ignore[assignment]
    report = go(source(hostile([(evt.EVT_C_FIND, finding([bad, IMAGES[0]]))]), store), store, journal)
    assert (report.series, report.unusable, report.whole) == (1, 1, False)


def test_an_object_with_a_climbing_uid_is_not_kept(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal
) -> None:
    bad = image("PAT-A", "1", 1, SOPInstanceUID="../../x")
    bad.file_meta.MediaStorageSOPInstanceUID = "../../x"
    port = hostile([(evt.EVT_C_FIND, finding(IMAGES[:1])), (evt.EVT_C_GET, getting([bad]))])
    report = go(source(port, store), store, journal)
    assert (report.asked, report.received) == (1, 0)
    assert report.statuses == {"no DICOM object, or not all of one": 1}
    assert files(store) == []


def test_an_object_that_was_not_asked_for_is_not_taken(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal
) -> None:
    port = hostile([(evt.EVT_C_FIND, finding(IMAGES[:1])), (evt.EVT_C_GET, getting([IMAGES[-1]]))])
    report = go(source(port, store), store, journal)
    assert (report.asked, report.received) == (1, 0)
    assert report.statuses == {"not the object it was announced as": 1}
    assert files(store) == []


def test_a_pacs_that_does_not_say_what_class_an_object_has(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal
) -> None:
    def without(event: Any) -> Iterator[Any]:
        for status, found in finding(IMAGES[:2])(event):
            if found is not None:
                del found.SOPClassUID
            yield status, found

    port = hostile([(evt.EVT_C_FIND, without), (evt.EVT_C_GET, getting(IMAGES[:2]))])
    assert go(source(port, store), store, journal).received == 2


def test_many_answers_at_once_are_all_read(hostile: Callable[[Handlers], int], store: Store) -> None:
    """More than the guard lets wait: the PACS waits, and loses nothing."""
    many = [image("PAT-A", "1", number) for number in range(500)]
    pacs = source(hostile([(evt.EVT_C_FIND, finding(many))]), store)
    (series,) = pacs.series()
    assert len(pacs.objects(series)) == 500
    pacs.close()


def test_tls_to_a_pacs_that_proves_who_it_is(
    hostile: Callable[..., int], store: Store, journal: Journal, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    for name in ("server", "client"):
        authority.sign(name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    port = hostile([(evt.EVT_C_FIND, finding(IMAGES[:2])), (evt.EVT_C_GET, getting(IMAGES[:2]))], context)
    ours = Tls(ca="ca.pem", certificate="client.pem", key="client.key")
    assert go(source(port, store, tls=ours), store, journal).received == 2
    (tmp_path / "other").mkdir()
    Authority(tmp_path / "other")
    stranger = Tls(ca="other/ca.pem", certificate="client.pem", key="client.key")
    assert "got none" in go(source(port, store, tls=stranger), store, journal).trouble


def test_a_failure_is_told_by_its_status(hostile: Callable[[Handlers], int], store: Store, journal: Journal) -> None:
    def out_of_resources(_: Any) -> Iterator[Any]:
        yield 1
        yield 0xA702, None

    port = hostile([(evt.EVT_C_FIND, finding(IMAGES[:3])), (evt.EVT_C_GET, out_of_resources)])
    report = go(source(port, store), store, journal)
    assert (report.asked, report.failed) == (3, 3)
    assert report.statuses["0xA702"] >= 1


def test_a_query_that_fails_ends_the_pull(hostile: Callable[[Handlers], int], store: Store, journal: Journal) -> None:
    def refuse(_: Any) -> Iterator[Any]:
        yield 0xA900, None

    report = go(source(hostile([(evt.EVT_C_FIND, refuse)]), store), store, journal)
    assert "status 0xA900" in report.trouble


def test_answers_without_end_are_not_believed(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(event: Any) -> Iterator[Any]:
        number = 0
        while not event.is_cancelled and event.assoc.is_established:
            number += 1
            yield 0xFF00, row(StudyInstanceUID=f"1.{number}")

    monkeypatch.setattr("client.dicom.sources.dimse.MOST_STUDIES", 50)
    report = go(source(hostile([(evt.EVT_C_FIND, endless)]), store), store, journal)
    assert "at most 50 answers" in report.trouble


def test_a_pacs_that_breaks_off_is_asked_again(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal
) -> None:
    broken: list[bool] = []

    def once(event: Any) -> Iterator[Any]:
        if len(broken) < 2:
            broken.append(True)
            event.assoc.abort()
            return
        yield from finding(IMAGES[:3])(event)

    port = hostile([(evt.EVT_C_FIND, once), (evt.EVT_C_GET, getting(IMAGES[:3]))])
    report = go(source(port, store), store, journal, attempts=3)
    assert (report.received, report.whole, len(broken)) == (3, True, 2)


def test_a_pacs_without_the_service_says_so(store: Store, journal: Journal) -> None:
    entity = AE(ae_title="ARCHIVE")
    entity.supported_contexts = [build_context("1.2.840.10008.1.1")]
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    report = go(source(server.server_address[1], store), store, journal)
    server.shutdown()
    assert "service" in report.trouble or "association" in report.trouble


def test_a_pacs_that_never_answers(store: Store, journal: Journal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = go(source(silent.getsockname()[1], store, timeout_s=0.5), store, journal)
    assert "expected an association, got none" in report.trouble


def test_a_pacs_that_stops_in_the_middle_of_a_pdu(store: Store, journal: Journal) -> None:
    """An A-ASSOCIATE-AC of which half is sent (PS3.8 9.3.3): the wait for the rest ends."""
    server = socket.create_server(("127.0.0.1", 0))

    def half() -> None:
        wire, _ = server.accept()
        wire.recv(1 << 16)
        wire.sendall(b"\x02\x00\x00\x00\x01\x00half")
        stopped.wait(10)
        wire.close()

    stopped = threading.Event()
    thread = threading.Thread(target=half)
    thread.start()
    report = go(source(server.getsockname()[1], store, timeout_s=0.5), store, journal)
    stopped.set()
    thread.join()
    server.close()
    assert "expected an association, got none" in report.trouble


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves the socket open
def test_nobody_there(store: Store, journal: Journal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    report = go(source(port, store), store, journal)
    assert "expected an association, got none" in report.trouble


def test_errors_and_reports_name_nobody(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(0)
    bad = image("PAT-SECRET", "1", 1, SOPInstanceUID=uid("another"))
    port = hostile([(evt.EVT_C_FIND, finding(IMAGES)), (evt.EVT_C_GET, getting([bad]))])
    report = go(source(port, store), store, journal)
    out, err = capfd.readouterr()
    for shown in (repr(report), out, err, caplog.text):
        assert "PAT-" not in shown
        assert str(IMAGES[0].StudyInstanceUID) not in shown
        assert str(bad.SOPInstanceUID) not in shown
