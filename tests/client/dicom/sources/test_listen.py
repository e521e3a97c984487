"""Our C-STORE server: who is served, and what success means."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from client.dicom.reasons import LeftOutError
from client.dicom.scanning.header import read_header
from client.dicom.sources.association import CLASSES, SYNTAXES
from client.dicom.sources.config import Listen, Tls
from client.dicom.sources.listen import Listener
from client.dicom.sources.store import Store
from tests.client.dicom.sources.certificates import Authority
from tests.client.dicom.sources.peers import IMAGES, KEY, associate, echo, files, image, send
from tests.client.dicom.sources.wire import dataset_bytes, send_message, store_request

needs_dcmtk = pytest.mark.skipif(not Path("/usr/bin/storescu").exists(), reason="needs dcmtk (Debian: dcmtk)")


def config(**options: Any) -> Listen:
    usual: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "calling": ("SENDER",),
        "peers": ("127.0.0.1",),
        "timeout_s": 20.0,
    }
    return Listen(**usual | options)


@pytest.fixture
def listener(store: Store, tmp_path: Path) -> Iterator[Listener]:
    with Listener(config(), store, tmp_path) as listener:
        yield listener


def as_sent(path: Path, dataset: Dataset) -> bool:
    kept = dcmread(path)
    return bool(kept == dataset) and kept.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID


def test_what_is_answered_with_success_is_on_disk(store: Store, listener: Listener) -> None:
    assert send(listener.port, IMAGES, "KONSIL") == [0] * len(IMAGES)
    by_uid = {dcmread(path).SOPInstanceUID: path for path in files(store)}
    assert len(by_uid) == len(files(store)) == len(IMAGES)
    assert all(as_sent(by_uid[one.SOPInstanceUID], one) for one in IMAGES)
    assert listener.counts == {"kept": len(IMAGES)}


def test_sent_again_is_success_again_and_one_file(store: Store, listener: Listener) -> None:
    other = image("PAT-A", "1", 1, PatientSex="F")
    for sent in (IMAGES[:1], IMAGES[:1], [other]):
        assert send(listener.port, sent, "KONSIL") == [0]
    assert listener.counts == {"kept": 1, "again": 1, "beside": 1}
    assert len(files(store)) == 2


@needs_dcmtk
def test_dcmtk_sends_and_asks_whether_we_are_there(store: Store, listener: Listener, tmp_path: Path) -> None:
    IMAGES[0].save_as(tmp_path / "one.dcm", enforce_file_format=True)
    titles = ["-aec", "KONSIL", "-aet", "SENDER", "127.0.0.1", str(listener.port)]
    assert subprocess.run(["/usr/bin/echoscu", *titles], timeout=20, check=False).returncode == 0
    done = subprocess.run(["/usr/bin/storescu", *titles, tmp_path / "one.dcm"], timeout=20, check=False)
    assert done.returncode == 0
    assert as_sent(files(store)[0], IMAGES[0])


def test_every_storage_class_in_every_syntax_we_decode(listener: Listener) -> None:
    for first in range(0, len(CLASSES), 100):
        contexts = [build_context(sop_class, list(SYNTAXES[-1:])) for sop_class in CLASSES[first : first + 100]]
        association = associate(listener.port, contexts, "KONSIL", "SENDER")
        assert len(association.accepted_contexts) == len(contexts)
        association.release()
    contexts = [build_context(CLASSES[0], syntax) for syntax in SYNTAXES]
    association = associate(listener.port, contexts, "KONSIL", "SENDER")
    assert len(association.accepted_contexts) == len(SYNTAXES)
    association.release()


def test_who_is_not_expected_is_not_served(store: Store, listener: Listener, tmp_path: Path) -> None:
    assert echo(listener.port, "KONSIL", "SENDER")
    assert not echo(listener.port, "KONSIL", "STRANGER")
    assert not echo(listener.port, "ARCHIVE", "SENDER")
    assert listener.counts == {"rejected": 2}
    with Listener(config(peers=("10.0.0.0/8", "::1")), store, tmp_path) as elsewhere:
        assert not echo(elsewhere.port, "KONSIL", "SENDER")
        with socket.create_connection(("127.0.0.1", elsewhere.port)) as stranger:
            stranger.settimeout(10)
            assert stranger.recv(1) == b"", "cut off before a word"


def test_no_more_associations_than_configured(store: Store, tmp_path: Path) -> None:
    with Listener(config(max_associations=1), store, tmp_path) as listener:
        first = associate(listener.port, [build_context(Verification)], "KONSIL", "SENDER")
        assert first.is_established
        assert not echo(listener.port, "KONSIL", "SENDER")
        first.release()


def test_refusals_have_their_statuses(store: Store, listener: Listener, tmp_path: Path) -> None:
    """PS3.4 table B.2-1: A7xx out of resources, A9xx not the class announced, Cxxx cannot understand."""
    no_series = image("PAT-A", "1", 1)
    del no_series.SeriesInstanceUID
    cut = image("PAT-A", "1", 1)
    cut.PixelData = cut.PixelData[:-2]
    for refused in (no_series, image("PAT-A", "1", 1, SOPInstanceUID="../../x")):
        assert send(listener.port, [refused], "KONSIL") == [0xC000]
    with Listener(config(), Store(tmp_path / "full", KEY, floor=1 << 62), tmp_path) as full:
        assert send(full.port, IMAGES[:1], "KONSIL") == [0xA700]
        assert list(full.counts) == ["refused: no room on the disk, or it cannot be written"]
    assert files(store) == []


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    for name in ("server", "client"):
        authority.sign(name)
    return authority


def test_tls_lets_in_only_whom_the_authority_signed(store: Store, authority: Authority) -> None:
    tls = Tls(ca="ca.pem", certificate="server.pem", key="server.key")
    folder = authority.folder
    trusting = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    signed = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    signed.load_cert_chain(folder / "client.pem", folder / "client.key")
    with Listener(config(tls=tls), store, folder) as listener:
        # one that connects and says nothing holds up nobody
        with socket.create_connection(("127.0.0.1", listener.port)):
            assert echo(listener.port, "KONSIL", "SENDER", tls_args=(signed, "127.0.0.1"))
        assert not echo(listener.port, "KONSIL", "SENDER", tls_args=(trusting, "127.0.0.1"))
        assert not echo(listener.port, "KONSIL", "SENDER")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`konsil-client listen` in a process of its own, and its port."""
    (tmp_path / "sources.toml").write_text(
        "free_disk_gb = 0\n[listen]\nhost = '127.0.0.1'\nport = 0\ncalling = ['SENDER']\npeers = ['127.0.0.1']\n"
    )
    code = "import sys, pathlib; from client.commands.pull import listen; listen(pathlib.Path(sys.argv[1]))"
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    try:
        yield started, json.loads(started.stdout.readline())["port"]
    finally:
        started.kill()
        started.communicate()


def test_what_was_answered_survives_kill_9(process: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    listening, port = process
    assert send(port, IMAGES[:5], "KONSIL") == [0] * 5
    os.kill(listening.pid, signal.SIGKILL)
    listening.wait()
    kept = [path for path in (tmp_path / "received").rglob("*") if path.is_file()]
    assert len(kept) == 5
    sent = {one.SOPInstanceUID: one for one in IMAGES}
    assert all(as_sent(path, sent[dcmread(path).SOPInstanceUID]) for path in kept)


def test_killed_while_storing_leaves_nothing_that_looks_whole(
    process: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    """Kill at once, whatever it is doing: what was answered is there, and what is there is whole or no object."""
    listening, port = process
    contexts = [build_context(str(IMAGES[0].SOPClassUID), str(IMAGES[0].file_meta.TransferSyntaxUID))]
    association = associate(port, contexts, "KONSIL", "SENDER")
    answered = [association.send_c_store(one).get("Status") for one in IMAGES[:3]]
    big = image("PAT-C", "1", 1, Rows=2048, Columns=2048, PixelData=bytes(2 * 2048 * 2048))
    wire = association.dul.socket.socket
    body = dataset_bytes(big)
    request = store_request(str(big.SOPInstanceUID))
    send_message(association, request, body[:100_000])
    os.kill(listening.pid, signal.SIGKILL)
    listening.wait()
    association.kill()
    wire.close()
    kept = [path for path in (tmp_path / "received").rglob("*") if path.is_file()]
    whole = []
    for path in kept:
        try:
            whole.append(read_header(path))
        except LeftOutError:
            continue
    assert answered == [0, 0, 0]
    assert len(whole) == 3
    assert all(header.complete for header in whole)


def test_listen_tells_counts_and_nobody(process: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    listening, port = process
    assert send(port, IMAGES[:2], "KONSIL") == [0, 0]
    assert send(port, [image("PAT-A", "1", 1, SOPInstanceUID="../../x")], "KONSIL") == [0xC000]
    listening.send_signal(signal.SIGTERM)
    out, err = listening.communicate(timeout=20)
    assert listening.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["event"] == "association ended"
    assert lines[-1]["event"] == "stopped"
    assert lines[-1]["kept"] == 2
    assert lines[-1]["refused: no DICOM object, or not all of one"] == 1
    for name in ("PAT-A", "Secret", str(IMAGES[0].SOPInstanceUID), "../../x"):
        assert name not in out + err
    assert err == ""
