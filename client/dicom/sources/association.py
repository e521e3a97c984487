"""What both sides of DIMSE share: limits on what a peer can make us hold, silence about what it says, one way to
receive.

pynetdicom 3.0.4 reads a PDU of any announced length (4 GiB), waits for its end without end, and collects fragments and
whole messages without a limit. Every socket of ours is therefore a `GuardedSocket` before its first byte is read:

1. no PDU above LONGEST_PDU: PS3.8 9.3.1 lets the length be anything, our Maximum Length (PS3.8 D.1) only asks;
2. a PDU that has begun is whole within `timeout_s`;
3. what was received of one message, and what waits to be worked on, stays below `largest` bytes and WAITING messages.

Whoever breaks one is cut off. Not bounded: how slowly whole small PDUs may follow each other, up to `timeout_s` each.
"""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False

#: An A-ASSOCIATE-RQ with all 128 contexts and every syntax stays below it.
LONGEST_PDU = 1 << 20
#: Nobody may send a second request before the first is answered (PS3.7 D.3.3.3); cancels and replies come beside it.
WAITING = 8
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


class GuardedSocket(AssociationSocket):
    """Takes the place of an association's open socket, `taken`, and reads within `limits`."""

    def __init__(self, taken: AssociationSocket, limits: Limits) -> None:
        self.__dict__.update(taken.__dict__)
        self._limits = limits
        self._open.settimeout(limits.timeout_s)

    @property
    def _open(self) -> socket.socket:
        if self.socket is None:
            raise OSError("closed")
        return self.socket

    def recv(self, nr_bytes: int) -> bytearray:
        """`nr_bytes` bytes, fewer if the peer closed. Raises OSError, on which pynetdicom closes the connection."""
        if nr_bytes > LONGEST_PDU or self._held() + nr_bytes > self._limits.largest + MARGIN:
            raise OSError("more than we hold for one peer")
        deadline = time.monotonic() + self._limits.timeout_s
        read = bytearray()
        while len(read) < nr_bytes:
            if time.monotonic() > deadline:
                raise TimeoutError
            some = self._open.recv(min(_READ, nr_bytes - len(read)))
            if not some:
                break
            read += some
        return read

    def _held(self) -> int:
        """Bytes received and not yet worked on. Raises OSError where too many messages wait."""
        dimse = self.assoc.dimse
        waiting = [message for _, message in list(dimse.msg_queue.queue)]
        if len(waiting) > WAITING:
            raise OSError("more messages than may wait")
        parts = [getattr(message, "DataSet", None) for message in waiting]
        if dimse.message is not None:
            parts += [dimse.message.data_set, dimse.message.encoded_command_set]
        return sum(part.getbuffer().nbytes for part in parts if part is not None)


def guard(limits: Limits) -> tuple[Any, ...]:
    """An event handler for pynetdicom that puts the guard on each connection as it opens."""

    def take(event: evt.Event) -> None:
        taken = event.assoc.dul.socket
        if taken is not None:
            event.assoc.dul.socket = GuardedSocket(taken, limits)

    return (evt.EVT_CONN_OPEN, take)


def receiver(store: Store, tell: Told) -> tuple[Any, ...]:
    """An event handler that keeps what C-STORE brings and answers success once it is on disk; `tell` hears of each."""

    def keep(event: evt.Event) -> int:
        try:
            kept = _keep(event, store)
        except RefusedError as refused:
            tell(refused.why)
            return STATUS[refused.why]
        tell(kept)
        return SUCCESS

    return (evt.EVT_C_STORE, keep)


def _keep(event: evt.Event, store: Store) -> Kept:
    """The bytes as they were received, with the meta information of PS3.10 7.1 in front."""
    request: Any = event.request
    sop_class, sop_uid = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
    if not is_uid(sop_class) or not is_uid(sop_uid):
        raise RefusedError(Why.MALFORMED)
    head = bytes(HEAD - 4) + b"DICM" + encode_file_meta(event.file_meta)
    data = event.encoded_dataset(include_meta=False)
    return store.keep((head, data), sop_class=sop_class, sop_uid=sop_uid)


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
