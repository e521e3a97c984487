"""Small real DICOM objects for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from client.dicom.writing import derived_uid, write_object

Make = Callable[..., Dataset]
Write = Callable[..., Path]


def make_object(pixels: NDArray[Any] | None = None, **values: object) -> Dataset:
    """A grey or RGB object with `pixels` (by default 4 × 4 of 12 bits), then `values` set by keyword."""
    if pixels is None:
        pixels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 256
    bits = 8 * pixels.dtype.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = derived_uid("test", "image", "1")
    dataset.SeriesInstanceUID = derived_uid("test", "series", "1")
    dataset.StudyInstanceUID = derived_uid("test", "study", "1")
    dataset.Modality, dataset.Manufacturer = "DX", "Tester"
    dataset.PatientID, dataset.AccessionNumber, dataset.PatientName = "PAT-4711", "ACC-4711", "Muster^Erika"
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def make() -> Make:
    """`make_object`."""
    return make_object


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an object into tmp_path / "archive": write("a/b.dcm", number=3, Modality="CT") → its path."""

    def write_one(name: str, number: int = 1, pixels: NDArray[Any] | None = None, **values: Any) -> Path:
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        syntax = values.pop("syntax", ExplicitVRLittleEndian)
        dataset = make_object(pixels, SOPInstanceUID=derived_uid("test", "image", str(number)))
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        write_object(path, dataset, syntax)
        return path

    return write_one
