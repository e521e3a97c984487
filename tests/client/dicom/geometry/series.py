"""Small series of real DICOM objects, written and read back, and what the geometry room makes of them."""

import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian

from client.dicom.geometry.frame import Frame
from client.dicom.geometry.frames import classic_frame, needs_dataset, object_frames
from client.dicom.geometry.stacks import Stack, stacks
from client.dicom.geometry.values import phase
from client.dicom.scanning.header import Header, read_header
from client.dicom.writing import IMPLEMENTATION, derived_uid

Floats = NDArray[np.float64]
Change = Callable[[int, Dataset], None]

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
ROWS, COLUMNS = 4, 6


def image(number: int, **values: object) -> Dataset:
    """A CT slice of 4 × 6, Instance Number `number`, with `values` set by keyword; None deletes one."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPInstanceUID = derived_uid("test", "slice", str(number))
    dataset.SeriesInstanceUID = derived_uid("test", "series", "1")
    dataset.StudyInstanceUID = derived_uid("test", "study", "1")
    dataset.FrameOfReferenceUID = derived_uid("test", "frame of reference", "1")
    dataset.PatientID, dataset.InstanceNumber, dataset.AcquisitionNumber = "PAT-4711", number, 1
    dataset.Rows, dataset.Columns, dataset.PixelSpacing = ROWS, COLUMNS, [0.5, 0.5]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.SliceThickness, dataset.SpacingBetweenSlices = 99, 77  # wrong on purpose: never used
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
        if value is None:
            delattr(dataset, keyword)
    size = dataset.Rows * dataset.Columns * int(dataset.get("NumberOfFrames") or 1)
    dataset.PixelData = (np.arange(size, dtype=np.uint16) % 4096).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def series(positions: Iterable[Sequence[float]], **values: object) -> list[Dataset]:
    """One slice at each of `positions`, numbered from 1."""
    return [
        image(number, **{"ImagePositionPatient": list(position), **values})
        for number, position in enumerate(positions, start=1)
    ]


def line(count: int, step: float = 2.0, start: float = 10.0) -> list[tuple[float, float, float]]:
    """`count` positions upwards."""
    return [(-100.0, -50.0, start + index * step) for index in range(count)]


def multi_frame(positions: Sequence[Sequence[float]], **values: object) -> Dataset:
    """An enhanced MR object of one frame at each of `positions`, its geometry in functional groups."""
    dataset = image(1, SOPClassUID=EnhancedMRImageStorage, Modality="MR", NumberOfFrames=len(positions), **values)
    for keyword in ("ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([item(PixelSpacing=[0.5, 0.5], SliceThickness=99)])
    shared.PlaneOrientationSequence = Items([item(ImageOrientationPatient=list(AXIAL))])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items(
        [item(PlanePositionSequence=Items([item(ImagePositionPatient=list(place))])) for place in positions]
    )
    return dataset


def item(**values: object) -> Dataset:
    """An item of a sequence."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """`dataset` as a file, values longer than allowed included."""
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION
    buffer = io.BytesIO()
    with config.disable_value_validation():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read_back(dataset: Dataset) -> Dataset:
    """`dataset` written and read by pydicom."""
    return dcmread(io.BytesIO(encoded(dataset)))


def axial(z: float, number: int = 0, x: float = 0.0, **phases: object) -> Frame:
    """An axial frame of 4 × 6 at height `z`."""
    return Frame(
        rows=4, columns=6, position=(x, 0.0, z), orientation=AXIAL, spacing=(0.5, 0.5), number=number,
        phase=phase(**phases),
    )  # fmt: skip


def header_of_bytes(data: bytes) -> Header:
    """The header of an encoded object. Raises LeftOutError."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return read_header(Path(file.name))


def frames_of(data: bytes) -> tuple[Frame, ...]:
    """The frames of an encoded object, as the catalog finds them."""
    header = header_of_bytes(data)
    if needs_dataset(header):
        return object_frames(dcmread(io.BytesIO(data), stop_before_pixels=True))
    return (classic_frame(header),)


def stacks_of(datasets: Iterable[Dataset]) -> tuple[Stack, ...]:
    """The stacks of one series, through files."""
    return stacks([frame for dataset in datasets for frame in frames_of(encoded(dataset))])


def affine(corner: Sequence[float], steps: Sequence[Sequence[float]]) -> Floats:
    """[4, 4] of the first voxel and the steps of slices, rows and columns."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.array(steps).T, corner
    return matrix


def corners(matrix: NDArray[Any], shape: Sequence[int]) -> Floats:
    """The eight corner voxels' centres: [8, 3] mm."""
    ends = np.array(list(product(*((0, size - 1) for size in shape))), dtype=np.float64)
    return np.asarray(ends @ matrix[:3, :3].T + matrix[:3, 3])


def apart(first: Floats, second: Floats) -> float:
    """The largest distance in mm of a point of one set to the nearest of the other."""
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def near(stack: Stack, matrix: Floats, mm: float = 1e-9) -> None:
    """Fails unless the affine of `stack` is `matrix`."""
    if stack.affine is None:
        raise ValueError("a stack without affine")
    assert float(np.abs(stack.affine - matrix).max()) <= mm


def same_place(stack: Stack, matrix: NDArray[Any], shape: Sequence[int]) -> float:
    """mm between the corners of `stack` and those of another grid, whatever the order of its axes."""
    if stack.affine is None:
        raise ValueError("a stack without affine")
    return apart(corners(stack.affine, stack.shape), corners(matrix, shape))
