"""PACS that fail or mean harm: nothing wrong is kept, nothing is told of patients, everything ends."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.presentation import StoragePresentationContexts
from pynetdicom.transport import ThreadedAssociationServer

from client.dicom.sources.config import Filter, Tls
from client.dicom.sources.journal import Journal
from client.dicom.sources.links import FIND, GET, MOVE
from client.dicom.sources.store import Store
from tests.client.dicom.sources.certificates import Authority
from tests.client.dicom.sources.pacs import finding, getting, row
from tests.client.dicom.sources.peers import IMAGES, files, image, uid
from tests.client.dicom.sources.pulls import go
from tests.client.dicom.sources.pulls import pacs as source

Handlers = list[Any]


@pytest.fixture
def hostile() -> Iterator[Callable[[Handlers], int]]:
    """Starts a PACS with the given handlers; its port."""
    servers = []

    def start(handlers: Handlers, tls: ssl.SSLContext | None = None) -> int:
        entity = AE(ae_title="ARCHIVE")
        entity.supported_contexts = [build_context(service) for service in (FIND, MOVE, GET)]
        for context in StoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), scu_role=True, scp_role=True)
        server = entity.make_server(
            ("127.0.0.1", 0), evt_handlers=handlers, ssl_context=tls, server_class=ThreadedAssociationServer
        )
        entity._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()  # quick to stop
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        for association in server.active_associations:
            association.abort()
        server.shutdown()


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
    bad = image("PAT-C", "1", 1, StudyInstanceUID=climbing)
    report = go(source(hostile([(evt.EVT_C_FIND, finding([bad, IMAGES[0]]))]), store), store, journal)
    assert (report.series, report.unusable, report.whole) == (1, 1, False)


def test_an_object_with_a_climbing_uid_is_not_kept(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal
) -> None:
    bad = image("PAT-A", "1", 1, SOPInstanceUID="../../x")
    bad.file_meta.MediaStorageSOPInstanceUID = UID("../../x")
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


def test_a_pacs_that_is_full_for_a_moment_is_asked_again(
    hostile: Callable[[Handlers], int], store: Store, journal: Journal
) -> None:
    """PS3.8 9.3.4: a rejection is permanent (1) or transient (2)."""
    rejected: list[bool] = []

    def full(event: Any) -> None:
        if len(rejected) < 2:
            rejected.append(True)
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.is_rejected = True

    handlers = [(evt.EVT_REQUESTED, full), (evt.EVT_C_FIND, finding(IMAGES[:3])), (evt.EVT_C_GET, getting(IMAGES[:3]))]
    report = go(source(hostile(handlers), store), store, journal, attempts=3)
    assert (report.received, report.whole, len(rejected)) == (3, True, 2)


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
