"""Peers that speak no proper DICOM: an association with our server, then raw bytes."""

import struct
import time
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.dsutils import encode

from client.dicom.sources.listen import Listener
from tests.client.dicom.sources.peers import IMAGES, associate


def associated(listener: Listener) -> Any:
    contexts = [build_context(str(IMAGES[0].SOPClassUID), str(IMAGES[0].file_meta.TransferSyntaxUID))]
    association = associate(listener.port, contexts, "KONSIL", "SENDER")
    assert association.is_established
    association._reactor_checkpoint.clear()  # answers are ours to read
    return association


def store_request(sop_uid: str) -> Dataset:
    command = Dataset()
    command.AffectedSOPClassUID = str(IMAGES[0].SOPClassUID)
    command.CommandField, command.MessageID, command.Priority, command.CommandDataSetType = 1, 1, 0, 0
    command.AffectedSOPInstanceUID = sop_uid
    return command


def dataset_bytes(dataset: Dataset) -> bytes:
    return encode(dataset, is_implicit_vr=False, is_little_endian=True) or b""


def pdu(control: int, data: bytes, *, length: int | None = None) -> bytes:
    """P-DATA-TF with one PDV of context 1 (PS3.8 9.3.5); `control`: 1 command, 2 last."""
    item = struct.pack(">IBB", len(data) + 2, 1, control) + data
    return struct.pack(">BBI", 4, 0, len(item) if length is None else length) + item


def send_message(association: Any, command: Dataset, data: bytes) -> None:
    body = encode(command, is_implicit_vr=True, is_little_endian=True) or b""
    group = struct.pack("<HHII", 0, 0, 4, len(body))
    association.dul.socket.socket.sendall(pdu(3, group + body) + pdu(2, data))


def is_cut_off(association: Any, within_s: float = 15.0) -> bool:
    """Whether the server closes, or aborts."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not association.dul.is_alive() or association.acse.is_aborted() or association.dul.socket.socket is None:
            association.kill()
            return True
        time.sleep(0.02)
    return False
