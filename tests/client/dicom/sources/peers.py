"""Real peers on loopback, and what they hold: pynetdicom's qrscp, dcmtk's dcmqrscp, Orthanc."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from client.dicom.sources.association import Limits, guard
from client.dicom.sources.store import Store
from client.dicom.writing import derived_uid

KEY = b"k" * 32
ORTHANC = Path("/usr/sbin/Orthanc")
WEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def uid(*parts: str) -> str:
    return str(derived_uid("test/sources", *parts))


def image(patient: str, series: str, number: int, modality: str = "CT", **values: object) -> Dataset:
    """An object of `patient`'s one study of `modality`, 4 × 4 of 16 bits."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    dataset.SOPInstanceUID = uid("image", patient, modality, series, str(number))
    dataset.StudyInstanceUID = uid("study", patient, modality)
    dataset.SeriesInstanceUID = uid("series", patient, modality, series)
    dataset.PatientID, dataset.PatientName = patient, f"Secret^{patient}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.ReferringPhysicianName = "", "O", ""
    dataset.StudyDate = "20200303" if modality == "CT" else "20210404"
    dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "101010", "1", f"ACC-{patient}"[:16]
    dataset.StudyDescription = f"{modality} THORAX"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, int(series), number
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = (np.arange(16, dtype=np.uint16) + number).tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


#: Two patients: CT of three and two objects, MR of two; ten in four series of three studies.
IMAGES = [
    *(image("PAT-A", "1", number) for number in (1, 2, 3)),
    *(image("PAT-A", "2", number) for number in (1, 2)),
    *(image("PAT-A", "1", number, "MR") for number in (1, 2)),
    *(image("PAT-B", "1", number) for number in (1, 2, 3)),
]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the peer ended with status {process.returncode}")
        time.sleep(0.05)
    raise RuntimeError("the peer does not listen")


def associate(port: int, contexts: list[PresentationContext], called: str, calling: str, **options: Any) -> Any:
    """An association with a server on this machine, established or not."""
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    careful = [guard(Limits(1 << 30, 20.0))]
    return entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called, evt_handlers=careful, **options)


def send(port: int, images: list[Dataset], called: str = "ARCHIVE", calling: str = "SENDER") -> list[int]:
    """C-STORE `images` to a server on this machine; the statuses, 0 for success, -1 without an answer."""
    kinds = {(str(image.SOPClassUID), str(image.file_meta.TransferSyntaxUID)) for image in images}
    contexts = [build_context(*kind) for kind in sorted(kinds)]
    association = associate(port, contexts, called, calling)
    if not association.is_established:
        return [-1] * len(images)
    statuses = [int(association.send_c_store(image).get("Status", -1)) for image in images]
    association.release()
    return statuses


def echo(port: int, called: str, calling: str, **options: Any) -> bool:
    association = associate(port, [build_context(Verification)], called, calling, **options)
    if not association.is_established:
        return False
    answered = association.send_c_echo().get("Status") == 0
    association.release()
    return bool(answered)


@dataclass(frozen=True)
class Peer:
    """A PACS on loopback with IMAGES in it, that moves objects for KONSIL to `move_port`."""

    kind: str
    port: int
    move_port: int
    http_port: int = 0


def run(command: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    """Start a peer that dies with us."""
    leash = [sys.executable, "-m", "shared.leash", str(os.getpid())]
    quiet = subprocess.DEVNULL
    root = str(Path(__file__).parents[4])
    return subprocess.Popen(
        [*leash, *command], cwd=cwd, stdout=quiet, stderr=quiet, env=os.environ | {"PYTHONPATH": root}
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def qrscp(folder: Path, port: int, move_port: int) -> list[str]:
    text = (Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}").joinpath(
        "site-packages/pynetdicom/apps/qrscp/default.ini"
    )
    config = text.read_text().replace("QRSCP", "ARCHIVE").replace("port: 11112", f"port: {port}")
    config = config.replace("[STORESCP]", "[KONSIL]").replace("port: 11113", f"port: {move_port}")
    (folder / "qrscp.ini").write_text(config.replace("bind_address:", "bind_address: 127.0.0.1"))
    return [sys.executable, "-m", "pynetdicom", "qrscp", "-c", str(folder / "qrscp.ini"), "-q"]


def dcmqrscp(folder: Path, port: int, move_port: int) -> list[str]:
    (folder / "db").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nkonsil = (KONSIL, 127.0.0.1, {move_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {folder / 'db'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    return ["/usr/bin/dcmqrscp", "-c", str(folder / "dcmqrscp.cfg")]


def orthanc(folder: Path, port: int, move_port: int, http_port: int) -> list[str]:
    config = {
        "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "DicomAet": "ARCHIVE", "DicomPort": port, "HttpPort": http_port, "HttpServerEnabled": True,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": True, "RegisteredUsers": {"konsil": "secret"},
        "DicomModalities": {"konsil": ["KONSIL", "127.0.0.1", move_port]}, "DicomCheckCalledAet": False,
        "DicomAlwaysAllowGet": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
        "Plugins": [str(WEB_PLUGIN)] if WEB_PLUGIN.exists() else [],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    return [str(ORTHANC), str(folder / "orthanc.json")]


def started(kind: str, folder: Path) -> Iterator[Peer]:
    peer = Peer(kind, free_port(), free_port(), free_port())
    if kind == "qrscp":
        command = qrscp(folder, peer.port, peer.move_port)
    elif kind == "dcmqrscp":
        if shutil.which("dcmqrscp", path="/usr/bin") is None:
            pytest.skip("needs dcmtk's dcmqrscp (Debian: dcmtk)")
        command = dcmqrscp(folder, peer.port, peer.move_port)
    else:
        if not ORTHANC.exists():
            pytest.skip("needs Orthanc (Debian: orthanc)")
        command = orthanc(folder, peer.port, peer.move_port, peer.http_port)
    process = run(command, folder)
    try:
        wait_for(peer.port, process)
        assert send(peer.port, IMAGES) == [0] * len(IMAGES)
        yield peer
    finally:
        stop(process)


def files(store: Store) -> list[Path]:
    """Everything in the store's folder, drafts too."""
    return sorted(path for path in store.folder.rglob("*") if path.is_file())
