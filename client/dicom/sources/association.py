"""What both sides of DIMSE share: limits on what a peer can make us hold, silence about what it says, one way to
receive.

pynetdicom 3.0.4 reads a PDU of any announced length (4 GiB), waits for its end without end, and collects fragments and
whole messages without a limit. Every socket of ours is therefore a `GuardedSocket` before its first byte is read:

1. no PDU above LONGEST_PDU: PS3.8 9.3.1 lets the length be anything, our Maximum Length (PS3.8 D.1) only asks;
2. a PDU that has begun is whole within `timeout_s`;
3. one message stays below `largest` bytes; while as much, or WAITING messages, wait to be worked on, nothing is read.

Whoever breaks the first two, or sends a larger message, is cut off. Not bounded: how slowly whole small PDUs may follow
each other, up to `timeout_s` each.
"""

import io
import logging
import math
import socket
import ssl
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.config import IGNORE
from pydicom.config import settings as pydicom_settings
from pynetdicom import _config, build_context, evt
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext
from pynetdicom.transport import AssociationSocket

from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.sources.config import Tls
from client.dicom.sources.store import HEAD, Kept, RefusedError, Store, Why, is_uid
from shared.errors import InputError

# It logs what it sends and receives, identifiers of patients among it.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
_config.LOG_HANDLER_LEVEL = "none"
# Its warnings quote the values they warn of; what a UID may look like we check ourselves.
pydicom_settings.reading_validation_mode = IGNORE
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

#: An A-ASSOCIATE-RQ with all 128 contexts and every syntax stays below it.
LONGEST_PDU = 1 << 20
#: Answers to a query come faster than they are read; requests of a polite peer one by one (PS3.7 D.3.3.3).
WAITING = 64
PAUSE_S = 0.001
#: Above the largest object: its command set and the PDUs' own bytes.
MARGIN = 1 << 20
_READ = 1 << 18

SUCCESS, OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000
#: PS3.4 table B.2-1
STATUS = {
    Why.DISK: OUT_OF_RESOURCES,
    Why.TOO_LARGE: OUT_OF_RESOURCES,
    Why.MISMATCH: MISMATCH,
    Why.MALFORMED: CANNOT_UNDERSTAND,
}
#: Every storage class, images and what belongs to them (SR, SEG, RTSTRUCT), and every syntax we decode.
CLASSES: tuple[str, ...] = tuple(str(context.abstract_syntax) for context in AllStoragePresentationContexts)
SYNTAXES: tuple[str, ...] = tuple(DECODERS)

Told = Callable[[Kept | Why], None]


@dataclass(frozen=True)
class Limits:
    """`largest`: bytes of what is received and not yet worked on; `timeout_s`: of one PDU."""

    largest: int
    timeout_s: float


class ClosingSocket(AssociationSocket):
    """Closes where pynetdicom's stays open: after a connection that was refused, or that the peer closed first."""

    def _shutdown_socket(self) -> None:
        ours = self.socket
        super()._shutdown_socket()
        if ours is not None:
            ours.close()


class GuardedSocket(ClosingSocket):
    """Takes the place of an association's open socket, `taken`, and reads within `limits`."""

    def __init__(self, taken: AssociationSocket, limits: Limits) -> None:
        self.__dict__.update(taken.__dict__)
        self._limits = limits
        self._open.settimeout(limits.timeout_s)
        # a message is two short PDUs: without this the second waits for the acknowledgement of the first, 40 ms
        self._open.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def _open(self) -> socket.socket:
        if self.socket is None:
            raise OSError("closed")
        return self.socket

    def recv(self, nr_bytes: int) -> bytearray:
        """`nr_bytes` bytes, fewer if the peer closed. Raises OSError, on which pynetdicom closes the connection."""
        if nr_bytes > LONGEST_PDU or self._begun() + nr_bytes > self._limits.largest + MARGIN:
            raise OSError("more than we hold for one peer")
        deadline = time.monotonic() + self._limits.timeout_s
        while self._waiting() > self._limits.largest:  # the peer is faster than we are: let it wait
            self._check(deadline)
            time.sleep(PAUSE_S)
        read = bytearray()
        while len(read) < nr_bytes:
            self._check(deadline)
            some = self._open.recv(min(_READ, nr_bytes - len(read)))
            if not some:
                break
            read += some
        return read

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError

    def _begun(self) -> int:
        """Bytes of the message that is being received."""
        message = self.assoc.dimse.message
        return _bytes(message.data_set, message.encoded_command_set) if message is not None else 0

    def _waiting(self) -> float:
        """Bytes of the messages that wait to be worked on; without end where there are too many."""
        waiting = [message for _, message in list(self.assoc.dimse.msg_queue.queue)]
        if len(waiting) > WAITING:
            return math.inf
        return _bytes(*(getattr(message, "DataSet", None) for message in waiting))


def _bytes(*parts: io.BytesIO | None) -> int:
    return sum(part.getbuffer().nbytes for part in parts if part is not None)


def guard(limits: Limits) -> tuple[Any, ...]:
    """An event handler for pynetdicom that puts the guard on each connection as it opens."""

    def take(event: evt.Event) -> None:
        taken = event.assoc.dul.socket
        if taken is not None:
            event.assoc.dul.socket = GuardedSocket(taken, limits)

    return (evt.EVT_CONN_OPEN, take)


def receiver(store: Store, tell: Told, wanted: Callable[[], Container[str]] | None = None) -> tuple[Any, ...]:
    """An event handler that keeps what C-STORE brings and answers success once it is on disk; `tell` hears of each.
    Only what is `wanted`, by the store's names, if that is given."""

    def keep(event: evt.Event) -> int:
        try:
            kept = _keep(event, store, wanted() if wanted is not None else None)
        except RefusedError as refused:
            tell(refused.why)
            return STATUS[refused.why]
        tell(kept)
        return SUCCESS

    return (evt.EVT_C_STORE, keep)


def _keep(event: evt.Event, store: Store, wanted: Container[str] | None) -> Kept:
    """The bytes as they were received, with the meta information of PS3.10 7.1 in front."""
    request: Any = event.request
    sop_class, sop_uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
    if not is_uid(sop_class) or not is_uid(sop_uid):
        raise RefusedError(Why.MALFORMED)
    head = bytes(HEAD - 4) + b"DICM" + encode_file_meta(event.file_meta)
    data = event.encoded_dataset(include_meta=False)
    return store.keep((head, data), sop_class=sop_class, sop_uid=sop_uid, wanted=wanted)


def storage_contexts() -> list[PresentationContext]:
    """What our server accepts."""
    return [build_context(sop_class, list(SYNTAXES)) for sop_class in CLASSES]


def tls_context(tls: Tls, base: Path, *, server: bool) -> ssl.SSLContext | None:
    """The context of `tls`, None without; relative paths count from `base`. A server with a `ca` wants certificates of
    its clients. Raises InputError where a file is missing or wrong."""
    if not tls.ca and not tls.certificate:
        return None
    purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=None if tls.ca == "system" else str(base / tls.ca))
        if tls.certificate:
            context.load_cert_chain(base / tls.certificate, base / tls.key)
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or type(error).__name__
        do = "Check the files of the tls section."
        raise InputError("sources.toml: tls", expected="readable PEM files", got=got, do=do) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
