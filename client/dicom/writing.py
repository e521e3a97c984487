"""DICOM files that Konsil writes itself: simulated hospitals and converted pictures.

Guarantees: the same dataset gives the same bytes on any day and machine (no clock, no random UID, fixed
implementation UID), and a folder of them appears whole or not at all.
"""

import contextlib
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from shared.errors import InputError, SiteError


def derived_uid(label: str, *parts: str) -> UID:
    """A UID from its `parts`, by the UUID route of PS3.5 B.2: "2.25." and a number of 128 bits."""
    state = hashlib.sha256(label.encode())
    for part in parts:
        state.update(b"\0" + part.encode())
    return UID(f"2.25.{uuid.UUID(bytes=state.digest()[:16], version=5).int}")


IMPLEMENTATION = derived_uid("konsil/implementation/v1")

#: The encoder of each syntax we write, pinned: another one would give other bytes.
ENCODERS = {
    "1.2.840.10008.1.2.5": "pylibjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
}


def write_object(path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> None:
    """`dataset`, its pixels native, as a DICOM file at `path` in transfer syntax `syntax` (PS3.10 section 7)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = "KONSIL_1"
    dataset.file_meta = meta
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(UID(syntax), encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A temporary sibling of `out` to write into; it becomes `out` when the block ends well, else it vanishes.

    Raises InputError if `out` exists and is not an empty folder, SiteError if the disk does not take it.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(
            f"output folder {out}",
            expected="a new or an empty folder",
            got="one with something in it" if out.is_dir() else "a file",
            do="Choose another folder or empty this one.",
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise SiteError(f"output folder {out}", got=str(error.strerror), do="Check the path.") from None
    try:
        yield draft
        draft.chmod(0o755)
        draft.replace(out)
    except OSError as error:
        raise SiteError(
            f"output folder {out}",
            expected="room and permission to write",
            got=str(error.strerror or error),
            do="Free some space or choose another folder; nothing was left behind.",
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
