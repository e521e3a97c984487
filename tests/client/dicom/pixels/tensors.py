"""Tensors by the door that studies use (client.dicom.canonical), of single files and of objects not yet written."""

import hashlib
import io
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from client.dicom.canonical import canonical
from client.dicom.item import Item, Location, Part
from client.dicom.scanning.containers import stamp
from shared.study import Input


def tensor_of(path: Path, spec: Input, frame: int = 0) -> NDArray[np.float32]:
    """float32 `spec.shape` of frame `frame` of the file at `path`. Raises LeftOutError."""
    location = Location(path)
    return canonical(Item(b"", (Part(location, stamp(location), frame),)), spec)


def tensor(dataset: Dataset, spec: Input, frame: int = 0) -> NDArray[np.float32]:
    """As `tensor_of`, of `dataset` written as it is: an object that says what is not so can be written too."""
    buffer = io.BytesIO()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(buffer, enforce_file_format=True)
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(buffer.getvalue())
        file.flush()
        return tensor_of(Path(file.name), spec, frame)


def digest_of(values: NDArray[np.float32]) -> str:
    """The first 16 digits of the SHA-256 of a tensor."""
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]
