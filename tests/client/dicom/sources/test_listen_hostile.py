"""Our C-STORE server against peers that break off, lie or mean harm."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from client.dicom.sources.association import LONGEST_PDU, WAITING
from client.dicom.sources.config import Listen
from client.dicom.sources.listen import Listener
from client.dicom.sources.store import Store
from tests.client.dicom.sources.peers import IMAGES, KEY, echo, files, image, send, uid
from tests.client.dicom.sources.wire import associated, dataset_bytes, is_cut_off, pdu, send_message, store_request

ABORT = 7


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


def test_another_object_than_announced(store: Store, listener: Listener) -> None:
    association = associated(listener)
    encoded = IMAGES[0].copy()
    request = store_request(uid("announced", "as another"))
    send_message(association, request, dataset_bytes(encoded))
    _, answer = association.dimse.get_msg(block=True)
    assert answer.Status == 0xA900
    association.abort()
    assert files(store) == []


def test_a_uid_that_climbs_writes_nothing_anywhere(store: Store, listener: Listener, tmp_path: Path) -> None:
    """pynetdicom#1086: its own storage application names files by UIDs; ours never does."""
    before = sorted(tmp_path.rglob("*"))
    for climbing in ("../../x", "/x", "1.2/../../x"):
        assert send(listener.port, [image("PAT-A", "1", 1, SOPInstanceUID=climbing)], "KONSIL") == [0xC000]
        assert send(listener.port, [image("PAT-A", "1", 1, SeriesInstanceUID=climbing)], "KONSIL") == [0xC000]
    association = associated(listener)
    send_message(association, store_request("..\\..\\x"), dataset_bytes(IMAGES[0]))  # three values
    assert association.dimse.get_msg(block=True)[1].Status == 0xC000
    association.abort()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_deflated_bomb_is_refused(store: Store, listener: Listener) -> None:
    """pynetdicom#1086: nothing is inflated but what the header scan allows itself; 280 MiB in 280 KiB."""
    bomb = image("PAT-A", "1", 1)
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb.add_new(0x00091001, "OB", bytes(280 << 20))
    assert send(listener.port, [bomb], "KONSIL") == [0xC000]
    assert files(store) == []


def test_a_store_cut_in_the_middle_leaves_nothing(store: Store, listener: Listener) -> None:
    association = associated(listener)
    data = dataset_bytes(IMAGES[0])
    wire = association.dul.socket.socket
    wire.sendall(pdu(0, data[:100]) + pdu(2, data[100:])[:-50])
    wire.shutdown(socket.SHUT_RDWR)
    association.kill()
    assert echo(listener.port, "KONSIL", "SENDER"), "and others are served"
    assert files(store) == []


def test_a_pdu_of_four_gigabytes_is_not_waited_for(listener: Listener) -> None:
    """pynetdicom#1086: it would collect whatever comes. The cut is at LONGEST_PDU, before a byte of it is read."""
    association = associated(listener)
    association.dul.socket.socket.sendall(pdu(0, b"x", length=LONGEST_PDU + 1))
    assert is_cut_off(association)


def test_a_pdu_that_is_never_finished_is_cut_off(store: Store, tmp_path: Path) -> None:
    with Listener(config(timeout_s=0.5), store, tmp_path) as listener:
        association = associated(listener)
        association.dul.socket.socket.sendall(pdu(0, bytes(1000))[:500])
        assert is_cut_off(association)


def test_a_message_without_end_is_cut_off(tmp_path: Path) -> None:
    """Fragments are collected up to the largest object, then no further; of command sets too."""
    store = Store(tmp_path / "small", KEY, largest=1 << 20, floor=0)
    with Listener(config(), store, tmp_path) as listener:
        for control in (0, 1):
            association = associated(listener)
            piece = pdu(control, bytes(1 << 19))
            with pytest.raises(OSError):
                for _ in range(64):
                    association.dul.socket.socket.sendall(piece)
            assert is_cut_off(association)


def test_a_peer_that_does_not_wait_for_answers_has_to_wait(store: Store, listener: Listener) -> None:
    """While the disk is slow, requests are left with the peer: WAITING of them, however many it sends."""
    assert send(listener.port, IMAGES[:1], "KONSIL") == [0]
    folder = os.open(files(store)[0].parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # the store waits for its turn
    association = associated(listener)
    for _ in range(3 * WAITING):
        send_message(association, store_request(str(IMAGES[0].SOPInstanceUID)), dataset_bytes(IMAGES[0]))
    (serving,) = listener._running.active_associations
    held: list[int] = []
    while len(held) < 20 or (held[-1] != held[-20] and len(held) < 500):
        held.append(serving.dimse.msg_queue.qsize())
        time.sleep(0.01)
    assert WAITING < held[-1] <= WAITING + 2
    os.close(folder)
    answers = [association.dimse.get_msg(block=True)[1].Status for _ in range(3 * WAITING)]
    assert answers == [0] * (3 * WAITING)
    association.abort()


def test_garbage_instead_of_dicom(listener: Listener) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x01\x00\x00\x00\x00\x04\xff\xff\xff\xff"):
        with socket.create_connection(("127.0.0.1", listener.port)) as wire:
            wire.settimeout(15)
            wire.sendall(garbage)
            wire.shutdown(socket.SHUT_WR)
            received = b""
            while more := wire.recv(100):
                received += more
            assert not received or received[0] == ABORT
    assert echo(listener.port, "KONSIL", "SENDER")
