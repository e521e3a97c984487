"""What a DIMSE peer sends to our C-STORE server, byte for byte: no thread of ours dies, nothing half is kept, and the
next peer is served."""

import contextlib
import socket
import struct
import threading
import time
import traceback
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from client.dicom.scanning.header import read_header
from client.dicom.sources.config import Listen
from client.dicom.sources.listen import Listener
from client.dicom.sources.store import DRAFT, Store
from tests.client.dicom.sources.peers import IMAGES
from tests.client.dicom.sources.wire import dataset_bytes, pdu, store_request
from tests.fuzz.dicom_files import KEY
from tests.fuzz.engine import Decoder, Target

CALLED, CALLING = b"KONSIL", b"SENDER"
#: Seconds in which the server must be through with a peer that has hung up.
THROUGH_S = 15.0
_WORDS = (
    struct.pack(">BBI", 1, 0, 0xFFFFFFFF), struct.pack(">BBI", 4, 0, 0), struct.pack(">BBI", 5, 0, 4) + bytes(4),
    struct.pack(">BBI", 7, 0, 4) + bytes(4), b"\x50\0\xff\xff", b"\x20\0\0\0", b"\x51\0\0\4\0\0\0\0", b"..\\..\\x",
    b"\x54\0\0\2\0\0", b"\x58\0\xff\xff\1\1", b"1.2.840.10008.1.1", b"\1\3", b"\1\2", b"\xff\3",
)  # fmt: skip


def _item(kind: int, data: bytes) -> bytes:
    """PS3.8 9.3.2: type, a reserved byte, a length, the value."""
    return struct.pack(">BBH", kind, 0, len(data)) + data


def request(sop_class: str) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2) for context 1: `sop_class` in explicit little endian."""
    context = bytes([1, 0, 0, 0]) + _item(0x30, sop_class.encode()) + _item(0x40, ExplicitVRLittleEndian.encode())
    user = _item(0x51, struct.pack(">I", 1 << 16)) + _item(0x52, b"1.2.3") + _item(0x55, b"FUZZ")
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    body = struct.pack(">HH", 1, 0) + CALLED.ljust(16) + CALLING.ljust(16) + bytes(32) + items
    return struct.pack(">BBI", 1, 0, len(body)) + body


def conversations() -> tuple[bytes, ...]:
    """What a proper peer says: all at once, in pieces, and nothing but a request."""
    image = IMAGES[0]
    command = store_request(str(image.SOPInstanceUID))
    body = encode(command, is_implicit_vr=True, is_little_endian=True) or b""
    group = struct.pack("<HHII", 0, 0, 4, len(body)) + body
    data, begin = dataset_bytes(image), request(str(image.SOPClassUID))
    release = struct.pack(">BBI", 5, 0, 4) + bytes(4)
    pieces = pdu(0, data[:100]) + pdu(2, data[100:])
    return (
        begin + pdu(3, group) + pdu(2, data) + release,
        begin + pdu(1, group[:20]) + pdu(3, group[20:]) + pieces + pdu(3, group) + pieces,
        begin + release,
    )


def _peer(folder: Path) -> Decoder:
    store = Store(folder / "kept", KEY, largest=1 << 17, floor=0)
    config = Listen(
        host="127.0.0.1", port=0, calling=(CALLING.decode(),), peers=("127.0.0.1",), timeout_s=0.3, max_associations=4
    )
    listener = Listener(config, store, folder)
    listener.__enter__()  # ends with the process: its threads are daemons
    died: list[str] = []

    def noticed(args: threading.ExceptHookArgs) -> None:
        """pynetdicom ends a thread of its own so where a peer speaks out of turn; none of ours may."""
        if "/client/" in "".join(traceback.format_tb(args.exc_traceback)):
            died.append(args.exc_type.__name__)

    threading.excepthook = noticed

    def read(data: bytes) -> None:
        for old in store.folder.rglob("*.dcm"):
            old.unlink()
        _say(listener.port, data)
        deadline = time.monotonic() + THROUGH_S
        while listener._running.active_associations:
            if time.monotonic() > deadline:
                raise AssertionError("an association without end")
            time.sleep(0.002)
        if died:
            raise AssertionError(f"a thread that died: {died.pop()}")
        if list(store.folder.rglob(f"{DRAFT}*")):
            raise AssertionError("a draft that nobody writes")
        for path in store.folder.rglob("*.dcm"):
            if not read_header(path).complete:
                raise AssertionError("half an object")

    return Decoder(read, conversations(), "bytes", _WORDS, (), extra_mb=100, slow_s=3.0)


def _say(port: int, data: bytes) -> None:
    """All of `data`, then silence; what is answered is read until the server hangs up."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=THROUGH_S) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(1 << 16):
            pass


PEER_TARGETS = (
    Target("DIMSE peer", _peer, 0.1, ("client/dicom/sources/listen.py", "client/dicom/sources/association.py")),
)
